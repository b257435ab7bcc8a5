// A convolution: KERNEL_X x KERNEL_Y, STRIDE_X, STRIDE_Y, DILATION_X, DILATION_Y; a thread computes 2 x 2 pixels
// of 4 * BLOCKS output channels, a group TILE_WIDTH x TILE_HEIGHT pixels of one slice of output channels.
//
// LANES      how many of the four channels of an input element there are (1 to 4; below 4 for pictures)
// SHARE      1 the group's input is in groupshared memory; 0 each thread reads what it needs
// SHUFFLE    n output channels are n x n pixels, phase by phase (depth to space; a transposed convolution)
// PHASED     1 the source is read as upsampled by 2: each phase has its own weights and begins one pixel on
// KEEP       1 the value that is read is also written to _Kept, each element once
// STATISTICS 1 mean and spread of what is written go to _Partials

#include "Common.hlsl"

#ifndef KEEP
#define KEEP 0
#endif
#ifndef SHUFFLE
#define SHUFFLE 1
#endif
#ifndef PHASED
#define PHASED 0
#endif

#define THREADS (THREADS_X * THREADS_Y)
#define TILE_WIDTH (2 * THREADS_X)
#define TILE_HEIGHT (2 * THREADS_Y)

// With a stride of n, the rows of the tile are cached in n passes, each of which serves every n-th row of the kernel:
// a 3x3 of stride 2 takes half the groupshared memory. In a row, columns are sorted by their remainder, so that
// neighbouring threads read neighbouring elements, without bank conflicts.
#if SHARE == 1 && STRIDE_Y > 1 && DILATION_Y == 1
#define ROW_STEP STRIDE_Y
#define SHARED_HEIGHT (TILE_HEIGHT + (KERNEL_Y - 1) / STRIDE_Y)
#else
#define ROW_STEP 1
#define SHARED_HEIGHT ((TILE_HEIGHT - 1) * STRIDE_Y + (KERNEL_Y - 1) * DILATION_Y + 1)
#endif
#if STRIDE_X > 1 && DILATION_X == 1
#define COLUMN_STEP STRIDE_X
#define COLUMNS (TILE_WIDTH + (KERNEL_X - 1) / STRIDE_X)
#else
#define COLUMN_STEP 1
#define COLUMNS ((TILE_WIDTH - 1) * STRIDE_X + (KERNEL_X - 1) * DILATION_X + 1)
#endif
#define SHARED_WIDTH (COLUMN_STEP * COLUMNS)
#define ROW_WEIGHTS (KERNEL_X * LANES * BLOCKS)

// FXC takes no conditional expression as the size of an array (X3058).
#if SHARE == 1 && SHARED_WIDTH * SHARED_HEIGHT > THREADS
groupshared float4 Shared[SHARED_WIDTH * SHARED_HEIGHT];
#elif SHARE == 1
groupshared float4 Shared[THREADS];
#elif STATISTICS == 1
groupshared float4 Shared[THREADS];
#endif

#if STATISTICS == 1
#include "Statistics.hlsl"
#endif

// The position of a pixel of the convolution in the output; SHUFFLE > 1 spreads phases and crops.
int2 Place(int2 pixel, int phase)
{
#if SHUFFLE > 1
    return pixel * SHUFFLE + int2((uint)phase % SHUFFLE, (uint)phase / SHUFFLE) - int2(CROP_LEFT, CROP_TOP);
#else
    return pixel;
#endif
}

bool Inside(int2 at)
{
    return at.x >= 0 && at.y >= 0 && at.x < OUTPUT_WIDTH && at.y < OUTPUT_HEIGHT;
}

#if STATISTICS == 1
// How many of the pixels origin to origin + tile of the convolution lie in the output, in one direction.
int Covered(int origin, int tile, int phase, int crop, int size)
{
    int first = max(origin, (int)((uint)(crop - phase + SHUFFLE - 1) / SHUFFLE));
    int behind = min(origin + tile, (int)((uint)(size + crop - phase + SHUFFLE - 1) / SHUFFLE));
    return max(0, behind - first);
}
#endif

// The four values of one block of output channels: finished, written, and counted.
void Finish(float4 v00, float4 v10, float4 v01, float4 v11, int block, int2 origin, int2 pixel, int tile, uint thread)
{
    int phase = 0;
    int stored = block;
#if SHUFFLE > 1
    phase = (int)((uint)block / (uint)BLOCKS_A_PHASE);
    stored = block - phase * BLOCKS_A_PHASE;
#endif
    float4 bias = _Weights[(uint)(BIAS_AT + block)];
    v00 = Finished(v00 + bias, stored);
    v10 = Finished(v10 + bias, stored);
    v01 = Finished(v01 + bias, stored);
    v11 = Finished(v11 + bias, stored);

    int2 p00 = Place(pixel, phase);
    int2 p10 = Place(pixel + int2(THREADS_X, 0), phase);
    int2 p01 = Place(pixel + int2(0, THREADS_Y), phase);
    int2 p11 = Place(pixel + int2(THREADS_X, THREADS_Y), phase);
    bool real = block < OUTPUT_BLOCKS * SHUFFLE * SHUFFLE;
    bool i00 = real && Inside(p00), i10 = real && Inside(p10), i01 = real && Inside(p01), i11 = real && Inside(p11);
#if STORE == 1
    if (i00) Write(v00, stored, p00.x, p00.y);
    if (i10) Write(v10, stored, p10.x, p10.y);
    if (i01) Write(v01, stored, p01.x, p01.y);
    if (i11) Write(v11, stored, p11.x, p11.y);
#endif

#if STATISTICS == 1
    float across = Covered(origin.x, TILE_WIDTH, (int)((uint)phase % SHUFFLE), CROP_LEFT, OUTPUT_WIDTH);
    float down = Covered(origin.y, TILE_HEIGHT, (int)((uint)phase / SHUFFLE), CROP_TOP, OUTPUT_HEIGHT);
    float count = across * down;
    float4 pivot = FirstOfGroup(v00, thread);
    float4 sum = (i00 ? v00 - pivot : 0.0) + (i10 ? v10 - pivot : 0.0) + (i01 ? v01 - pivot : 0.0)
        + (i11 ? v11 - pivot : 0.0);
    float4 mean = pivot + GroupSum(sum, thread) / max(count, 1.0);
    float4 d00 = i00 ? v00 - mean : 0.0;
    float4 d10 = i10 ? v10 - mean : 0.0;
    float4 d01 = i01 ? v01 - mean : 0.0;
    float4 d11 = i11 ? v11 - mean : 0.0;
    float4 spread = GroupSum(d00 * d00 + d10 * d10 + d01 * d01 + d11 * d11, thread);
    if (real) WritePartial(mean, spread, count, block, tile, thread);
#endif
}

[numthreads(THREADS_X, THREADS_Y, 1)]
void ENTRY(uint3 group : SV_GroupID, uint3 inGroup : SV_GroupThreadID, uint thread : SV_GroupIndex)
{
    // The slice of output channels is the fastest index: neighbours in time read the same input.
    int slice = (int)(group.x % (uint)SLICES);
    int2 tile = int2(group.x / (uint)SLICES, group.y);
    int2 origin = tile * int2(TILE_WIDTH, TILE_HEIGHT);
    int2 pixel = origin + (int2)inGroup.xy;
    int2 pad = int2(PAD_LEFT, PAD_TOP);
#if PHASED == 1
    uint sliceOfPhase = (uint)(slice * BLOCKS) / (uint)BLOCKS_A_PHASE;
    pad -= int2(sliceOfPhase % 2u, sliceOfPhase / 2u);
#endif
    int2 from = origin * int2(STRIDE_X, STRIDE_Y) - pad;

    float4 a00 = 0.0, a10 = 0.0, a01 = 0.0, a11 = 0.0;
#if BLOCKS == 2
    float4 b00 = 0.0, b10 = 0.0, b01 = 0.0, b11 = 0.0;
#endif

    int firstBlock = (int)((uint)slice % (uint)(SLICES_A_GROUP * GROUPS) / (uint)SLICES_A_GROUP) * BLOCKS_A_GROUP;
    uint blockWeights = (uint)(WEIGHTS_AT + slice * BLOCKS_A_GROUP * (KERNEL_Y * ROW_WEIGHTS));

    // Loops that would turn once are left out, because FXC warns of them (X3557).
    [loop]
    for (int step = 0; step < BLOCKS_A_GROUP; step++)
    {
        int block = firstBlock + step;
#if ROW_STEP > 1 && KERNEL_Y > 1
        [loop]
        for (uint rowPass = 0u; rowPass < ROW_STEP && rowPass < KERNEL_Y; rowPass++)
#else
        const uint rowPass = 0u;
#endif
        {
#if SHARE == 1
            uint elements = SHARED_WIDTH * SHARED_HEIGHT;
#if ROW_STEP > 1
            elements = SHARED_WIDTH * (TILE_HEIGHT + (KERNEL_Y - 1u - rowPass) / ROW_STEP);
#endif
            [loop]
            for (uint element = thread; element < elements; element += THREADS)
            {
                uint column = element % SHARED_WIDTH;
                int2 at = from + int2(column % COLUMNS * COLUMN_STEP + column / COLUMNS,
                                      element / SHARED_WIDTH * ROW_STEP + rowPass);
                float4 read = Padded(block, at.x, at.y);
                Shared[element] = read;
#if KEEP == 1
                // Each group keeps its own tile; stride 1, so these tiles cover the source.
                int2 own = at - origin;
                if (slice == 0 && own.x >= 0 && own.y >= 0 && own.x < TILE_WIDTH && own.y < TILE_HEIGHT
                    && at.x < SOURCE_WIDTH && at.y < SOURCE_HEIGHT)
                    _Kept[(uint)((block * SOURCE_HEIGHT + at.y) * SOURCE_WIDTH + at.x)] = Packed(read);
#endif
            }
            GroupMemoryBarrierWithGroupSync();
#endif

#if KERNEL_Y > 1
            [loop]
            for (uint ky = rowPass; ky < KERNEL_Y; ky += ROW_STEP)
#else
            const uint ky = 0u;
#endif
            {
                uint weights = blockWeights + ky * ROW_WEIGHTS;
#if SHARE == 1
                uint row = inGroup.x * (STRIDE_X / COLUMN_STEP)
                    + (inGroup.y * (STRIDE_Y / ROW_STEP) + ky / ROW_STEP * DILATION_Y) * SHARED_WIDTH;
                [unroll]
                for (uint kx = 0u; kx < KERNEL_X; kx++)
#else
                int2 at = pixel * int2(STRIDE_X, STRIDE_Y) - pad + int2(0, (int)ky * DILATION_Y);
#if KERNEL_X > 1
                [loop]
                for (uint kx = 0u; kx < KERNEL_X; kx++)
#else
                const uint kx = 0u;
#endif
#endif
                {
#if SHARE == 1
                    const uint right = THREADS_X * STRIDE_X / COLUMN_STEP;
                    const uint below = THREADS_Y * STRIDE_Y / ROW_STEP * SHARED_WIDTH;
                    uint first = row + kx * DILATION_X % COLUMN_STEP * COLUMNS + kx * DILATION_X / COLUMN_STEP;
                    float4 v00 = Shared[first];
                    float4 v10 = Shared[first + right];
                    float4 v01 = Shared[first + below];
                    float4 v11 = Shared[first + below + right];
#else
                    int x = at.x + (int)kx * DILATION_X;
                    float4 v00 = Padded(block, x, at.y);
                    float4 v10 = Padded(block, x + THREADS_X * STRIDE_X, at.y);
                    float4 v01 = Padded(block, x, at.y + THREADS_Y * STRIDE_Y);
                    float4 v11 = Padded(block, x + THREADS_X * STRIDE_X, at.y + THREADS_Y * STRIDE_Y);
#endif
                    float4 w = _Weights[weights];
                    a00 += v00.x * w; a10 += v10.x * w; a01 += v01.x * w; a11 += v11.x * w;
#if BLOCKS == 2
                    w = _Weights[weights + 1u];
                    b00 += v00.x * w; b10 += v10.x * w; b01 += v01.x * w; b11 += v11.x * w;
#endif
#if LANES > 1
                    w = _Weights[weights + BLOCKS];
                    a00 += v00.y * w; a10 += v10.y * w; a01 += v01.y * w; a11 += v11.y * w;
#if BLOCKS == 2
                    w = _Weights[weights + BLOCKS + 1u];
                    b00 += v00.y * w; b10 += v10.y * w; b01 += v01.y * w; b11 += v11.y * w;
#endif
#endif
#if LANES > 2
                    w = _Weights[weights + 2u * BLOCKS];
                    a00 += v00.z * w; a10 += v10.z * w; a01 += v01.z * w; a11 += v11.z * w;
#if BLOCKS == 2
                    w = _Weights[weights + 2u * BLOCKS + 1u];
                    b00 += v00.z * w; b10 += v10.z * w; b01 += v01.z * w; b11 += v11.z * w;
#endif
#endif
#if LANES > 3
                    w = _Weights[weights + 3u * BLOCKS];
                    a00 += v00.w * w; a10 += v10.w * w; a01 += v01.w * w; a11 += v11.w * w;
#if BLOCKS == 2
                    w = _Weights[weights + 3u * BLOCKS + 1u];
                    b00 += v00.w * w; b10 += v10.w * w; b01 += v01.w * w; b11 += v11.w * w;
#endif
#endif
                    weights += LANES * BLOCKS;
                }
            }
#if SHARE == 1
            GroupMemoryBarrierWithGroupSync();
#endif
        }
        blockWeights += KERNEL_Y * ROW_WEIGHTS;
    }

    int tileNumber = tile.y * TILES_ACROSS + tile.x;
    Finish(a00, a10, a01, a11, slice * BLOCKS, origin, pixel, tileNumber, thread);
#if BLOCKS == 2
    Finish(b00, b10, b01, b11, slice * BLOCKS + 1, origin, pixel, tileNumber, thread);
#endif
}
