// Shared by all kernels: resources, constants, activation functions, and reading a value with fused operations.
//
// Activations are stored with four channels per element: element (block * height + y) * width + x of a buffer holds
// channels 4 * block to 4 * block + 3 of pixel (x, y), row 0 on top. A kernel is one of the other files compiled
// with macros that the generated .compute file defines; docs/compute.md lists them.

#ifndef STYLE_TRANSFER_COMMON
#define STYLE_TRANSFER_COMMON

// --- Constants of a dispatch (pipeline/targets/compute/constants.py and ComputeConstants.cs write the same order) ---

int4 _Shape[10];
float4 _Real[7];

#define SOURCE_WIDTH _Shape[0].x
#define SOURCE_HEIGHT _Shape[0].y
#define SOURCE_BLOCKS _Shape[0].z
#define SOURCE_CHANNELS _Shape[0].w
#define OUTPUT_WIDTH _Shape[1].x
#define OUTPUT_HEIGHT _Shape[1].y
#define OUTPUT_BLOCKS _Shape[1].z
#define OUTPUT_CHANNELS _Shape[1].w
#define PAD_LEFT _Shape[2].x
#define PAD_TOP _Shape[2].y
#define TILES_ACROSS _Shape[2].z
#define TILES _Shape[2].w
#define FIRST_BLOCK_A _Shape[3].x
#define FIRST_BLOCK_B _Shape[3].y
#define FIRST_BLOCK_OUTPUT _Shape[3].z
#define FLIP_ROWS _Shape[3].w
#define SECOND_WIDTH _Shape[4].x
#define SECOND_HEIGHT _Shape[4].y
#define SECOND_LEFT _Shape[4].z
#define SECOND_TOP _Shape[4].w
#define WEIGHTS_AT _Shape[5].x
#define BIAS_AT _Shape[5].y
#define SLICES _Shape[5].z
#define BLOCKS_A_PHASE _Shape[5].w
#define SLICES_A_GROUP _Shape[6].x
#define BLOCKS_A_GROUP _Shape[6].y
#define CROP_LEFT _Shape[6].z
#define CROP_TOP _Shape[6].w
#define TABLE_A _Shape[7].x
#define TABLE_B _Shape[7].y
#define TABLE_A_LATER _Shape[7].z
#define TABLE_B_LATER _Shape[7].w
#define TABLE_SUM _Shape[8].x
#define TABLE_OUTPUT _Shape[8].y
#define SLOPES_A _Shape[8].z
#define SLOPES_OUTPUT _Shape[8].w
#define SLOPES_B _Shape[9].x
#define SLOPES_SUM _Shape[9].y
#define GROUPS _Shape[9].z
#define OPTION _Shape[9].w

#define BOUNDS_A _Real[0]
#define BOUNDS_B _Real[1]
#define BOUNDS_SUM _Real[2]
#define BOUNDS_OUTPUT _Real[3]
#define SAMPLING _Real[4]
#define PAD_VALUE _Real[5].x
#define EPSILON _Real[5].y
#define EPSILON_OUTSIDE _Real[5].z
#define BOUNDS_LATER _Real[6]

// --- Resources ---

#ifdef HALF
#define STORED uint2
#else
#define STORED float4
#endif

StructuredBuffer<float4> _Weights;
StructuredBuffer<float4> _Tables;
StructuredBuffer<STORED> _SourceA;
StructuredBuffer<STORED> _SourceB;
RWStructuredBuffer<STORED> _Output;
RWStructuredBuffer<STORED> _Kept;
RWStructuredBuffer<float4> _Partials;
Texture2D<float4> _Picture;
RWTexture2D<float4> _Painted;

#ifdef HALF
// The low bits are rounded first, because compilers and drivers may round or truncate in f32tof16.
uint2 Packed(float4 value)
{
    uint4 bits = (asuint(value) + 0x1000u) & 0xffffe000u;
    bits = f32tof16(asfloat(bits));
    return uint2(bits.x | bits.y << 16, bits.z | bits.w << 16);
}

float4 Unpacked(uint2 stored)
{
    return f16tof32(uint4(stored.x & 0xffffu, stored.x >> 16, stored.y & 0xffffu, stored.y >> 16));
}
#else
float4 Packed(float4 value) { return value; }
float4 Unpacked(float4 stored) { return stored; }
#endif

// --- Activations: ACTIVATE(kind, value, bounds, slopes) with one of these kinds ---

#define NONE 0
#define RELU 1
#define LEAKY 2
#define CLIP 3
#define TANH 4
#define SIGMOID 5
#define HARD_SWISH 6
#define SILU 7
#define GELU 8
#define ELU 9
#define PRELU 10
#define HARD_SIGMOID 11
#define GELU_TANH 12
#define SOFTPLUS 13
#define ABSOLUTE 14
#define MISH 15
#define SQUARE_ROOT 16
#define EXPONENTIAL 17
#define SQUARE 18
#define ERF 19

float4 Sigmoid(float4 x) { return 1.0 / (1.0 + exp(-x)); }

// tanh of some drivers is inf / inf for large numbers.
float4 Tanh(float4 x) { return tanh(clamp(x, -15.0, 15.0)); }

// The error function after Abramowitz and Stegun 7.1.26, off by at most 1.5e-7.
float4 ErrorFunction(float4 x)
{
    float4 magnitude = abs(x);
    float4 t = 1.0 / (1.0 + 0.3275911 * magnitude);
    float4 series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return sign(x) * (1.0 - series * exp(-magnitude * magnitude));
}

float4 Softplus(float4 x) { return max(x, 0.0) + log(1.0 + exp(-abs(x))); }

// `kind` is always a literal: the compiler keeps one line of this. HLSL 2021 takes no vector as a condition.
float4 Activated(uint kind, float4 x, float4 bounds, float4 slopes)
{
    if (kind == RELU) return max(x, 0.0);
    if (kind == LEAKY) return max(x, 0.0) + bounds.x * min(x, 0.0);
    if (kind == CLIP) return clamp(x, bounds.x, bounds.y);
    if (kind == TANH) return Tanh(x);
    if (kind == SIGMOID) return Sigmoid(x);
    if (kind == HARD_SWISH) return x * clamp(x / 6.0 + 0.5, 0.0, 1.0);
    if (kind == SILU) return x * Sigmoid(x);
    if (kind == GELU) return 0.5 * x * (1.0 + ErrorFunction(x * 0.70710678));
    if (kind == ELU) return max(x, 0.0) + bounds.x * (exp(min(x, 0.0)) - 1.0);
    if (kind == PRELU) return max(x, 0.0) + slopes * min(x, 0.0);
    if (kind == HARD_SIGMOID) return clamp(x * bounds.x + bounds.y, 0.0, 1.0);
    if (kind == GELU_TANH) return 0.5 * x * (1.0 + Tanh(0.79788456 * (x + 0.044715 * x * x * x)));
    if (kind == SOFTPLUS) return Softplus(x);
    if (kind == ABSOLUTE) return abs(x);
    if (kind == MISH) return x * Tanh(Softplus(x));
    if (kind == SQUARE_ROOT) return sqrt(max(x, 0.0));
    if (kind == EXPONENTIAL) return exp(x);
    if (kind == SQUARE) return x * x;
    if (kind == ERF) return ErrorFunction(x);
    return x;
}

float4 Slopes(uint kind, int table, int block)
{
    if (kind == PRELU) return _Weights[(uint)(table + block)];
    return 0.0;
}

// --- Operations fused into reading a value ---
//
// One or two terms, each a stored value with a normalisation, an activation and a second scale:
//   NORM_A   0 none, 1 mean, scale and shift that a merge of statistics left in _Tables, 2 constants in _Weights
//   ACT_A    an activation;  LATER_A 1 a constant scale and shift after it
// the same with _B for the second term, then
//   COMBINE  0 one term, 1 sum, 2 difference, 3 product, 4 quotient
//   SPREAD_B 1 the second term is one pixel, 2 it has one channel
//   NORM_SUM, ACT_SUM  a constant scale and shift, and an activation, after that
//   PICTURE  1 or 3: the first term is the camera's picture, of so many channels; 4: it is a texture of guides, whose
//            first SOURCE_CHANNELS channels are read
//   CENTRED  1 the picture is read relative to its centre pixel: a following norm cancels what all pixels have in
//            common, and a convolution of small numbers keeps its precision at low contrast

#ifndef NORM_A
#define NORM_A 0
#endif
#ifndef ACT_A
#define ACT_A NONE
#endif
#ifndef LATER_A
#define LATER_A 0
#endif
#ifndef NORM_B
#define NORM_B 0
#endif
#ifndef ACT_B
#define ACT_B NONE
#endif
#ifndef LATER_B
#define LATER_B 0
#endif
#ifndef COMBINE
#define COMBINE 0
#endif
#ifndef SPREAD_B
#define SPREAD_B 0
#endif
#ifndef SECOND_PICTURE
#define SECOND_PICTURE 0
#endif
#ifndef NORM_SUM
#define NORM_SUM 0
#endif
#ifndef ACT_SUM
#define ACT_SUM NONE
#endif
#ifndef PICTURE
#define PICTURE 0
#endif
#ifndef CENTRED
#define CENTRED 0
#endif
#ifndef ACT_OUTPUT
#define ACT_OUTPUT NONE
#endif
#ifndef NORM_OUTPUT
#define NORM_OUTPUT 0
#endif
#ifndef ACT_LATER
#define ACT_LATER NONE
#endif
#ifndef PAINT
#define PAINT 0
#endif
#ifndef STATISTICS
#define STATISTICS 0
#endif
#ifndef PADDING
#define PADDING 0
#endif
#ifndef UPSAMPLE
#define UPSAMPLE 1
#endif

float4 Scaled(float4 value, int table, int block)
{
    uint at = (uint)(table + 2 * block);
    return value * _Weights[at] + _Weights[at + 1u];
}

float4 Normalised(float4 value, int table, int block)
{
    uint at = (uint)(table + 3 * block);
    return (value - _Tables[at]) * _Tables[at + 1u] + _Tables[at + 2u];
}

// The picture's rows begin at the bottom in Unity's textures.
float4 PicturePixel(int x, int y, int height)
{
    float4 pixel = _Picture.Load(int3(x, FLIP_ROWS != 0 ? height - 1 - y : y, 0));
#if PICTURE == 1 || SECOND_PICTURE == 1
    return float4((pixel.x + pixel.y + pixel.z) / 3.0, 0.0, 0.0, 0.0);
#elif PICTURE == 4
    return float4(pixel.x, SOURCE_CHANNELS > 1 ? pixel.y : 0.0, SOURCE_CHANNELS > 2 ? pixel.z : 0.0,
        SOURCE_CHANNELS > 3 ? pixel.w : 0.0);
#else
    return float4(pixel.xyz, 0.0);
#endif
}

float4 TermA(int block, int x, int y)
{
#if PICTURE != 0
    float4 value = PicturePixel(x, y, SOURCE_HEIGHT);
#if CENTRED == 1
    value -= PicturePixel((int)((uint)SOURCE_WIDTH / 2u), (int)((uint)SOURCE_HEIGHT / 2u), SOURCE_HEIGHT);
#endif
#else
    float4 value = Unpacked(_SourceA[(uint)(((FIRST_BLOCK_A + block) * SOURCE_HEIGHT + y) * SOURCE_WIDTH + x)]);
#endif
#if NORM_A == 1
    value = Normalised(value, TABLE_A, block);
#elif NORM_A == 2
    value = Scaled(value, TABLE_A, block);
#endif
    value = Activated(ACT_A, value, BOUNDS_A, Slopes(ACT_A, SLOPES_A, block));
#if LATER_A == 1
    value = Scaled(value, TABLE_A_LATER, block);
#endif
    return value;
}

#if COMBINE != 0
float4 TermB(int block, int x, int y)
{
    // Smaller pictures are read from their corner on: a residual of a network without padding is cropped.
    x = SPREAD_B == 1 ? 0 : x + SECOND_LEFT;
    y = SPREAD_B == 1 ? 0 : y + SECOND_TOP;
    int stored = SPREAD_B == 2 ? 0 : block;
#if SECOND_PICTURE != 0
    float4 value = PicturePixel(x, y, SECOND_HEIGHT);
#else
    float4 value = Unpacked(_SourceB[(uint)(((FIRST_BLOCK_B + stored) * SECOND_HEIGHT + y) * SECOND_WIDTH + x)]);
#endif
#if NORM_B == 1
    value = Normalised(value, TABLE_B, stored);
#elif NORM_B == 2
    value = Scaled(value, TABLE_B, stored);
#endif
    value = Activated(ACT_B, value, BOUNDS_B, Slopes(ACT_B, SLOPES_B, stored));
#if LATER_B == 1
    value = Scaled(value, TABLE_B_LATER, stored);
#endif
#if SPREAD_B == 2
    value = value.xxxx;
#endif
    return value;
}
#endif

// The value at a pixel of the source, which must lie inside.
float4 Value(int block, int x, int y)
{
    float4 value = TermA(block, x, y);
#if COMBINE == 1
    value += TermB(block, x, y);
#elif COMBINE == 2
    value -= TermB(block, x, y);
#elif COMBINE == 3
    value *= TermB(block, x, y);
#elif COMBINE == 4
    // Channels beyond the last are 0 / 0, which is NaN even when multiplied by their weights of 0.
    float4 quotient = value / TermB(block, x, y);
    int left = SOURCE_CHANNELS - 4 * block;
    value = float4(quotient.x, left > 1 ? quotient.y : 0.0, left > 2 ? quotient.z : 0.0, left > 3 ? quotient.w : 0.0);
#endif
#if NORM_SUM == 2
    value = Scaled(value, TABLE_SUM, block);
#endif
    return Activated(ACT_SUM, value, BOUNDS_SUM, Slopes(ACT_SUM, SLOPES_SUM, block));
}

// --- Padding and nearest upsampling, fused into reading: PADDING 0 constant, 1 reflect, 2 edge; UPSAMPLE n ---

int Reflected(int at, int size)
{
    at = at < 0 ? -at : at;
    at = at >= size ? 2 * size - 2 - at : at;
    return clamp(at, 0, size - 1);
}

// The value at a pixel of the padded and upsampled source, (0, 0) being the first of its own pixels.
float4 Padded(int block, int x, int y)
{
    int width = SOURCE_WIDTH * UPSAMPLE;
    int height = SOURCE_HEIGHT * UPSAMPLE;
#if PADDING == 1
    x = Reflected(x, width);
    y = Reflected(y, height);
#elif PADDING == 2
    x = clamp(x, 0, width - 1);
    y = clamp(y, 0, height - 1);
#else
    if (x < 0 || y < 0 || x >= width || y >= height) return PAD_VALUE;
#endif
    return Value(block, (int)((uint)x / UPSAMPLE), (int)((uint)y / UPSAMPLE));
}

// --- Operations fused into writing ---

float4 Finished(float4 value, int block)
{
    value = Activated(ACT_OUTPUT, value, BOUNDS_OUTPUT, Slopes(ACT_OUTPUT, SLOPES_OUTPUT, block));
#if NORM_OUTPUT == 2
    value = Scaled(value, TABLE_OUTPUT, block);
#endif
    return Activated(ACT_LATER, value, BOUNDS_LATER, 0.0);
}

void Write(float4 value, int block, int x, int y)
{
#if PAINT == 1
    _Painted[uint2(x, FLIP_ROWS != 0 ? OUTPUT_HEIGHT - 1 - y : y)] = float4(value.xxx, 1.0);
#elif PAINT == 3
    _Painted[uint2(x, FLIP_ROWS != 0 ? OUTPUT_HEIGHT - 1 - y : y)] = float4(value.xyz, 1.0);
#else
    _Output[(uint)(((FIRST_BLOCK_OUTPUT + block) * OUTPUT_HEIGHT + y) * OUTPUT_WIDTH + x)] = Packed(value);
#endif
}

#endif
