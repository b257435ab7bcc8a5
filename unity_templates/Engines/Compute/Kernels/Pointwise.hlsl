// Writes a value: operations that could not be fused into the kernel that reads it. A thread writes one pixel of four
// channels; a group's third number is the block of channels.
//
// SAMPLE     0 the same pixel, 1 padded or cropped by PAD_LEFT and PAD_TOP, 2 nearest, 3 bilinear
// STORE      0 only the statistics are needed
// STATISTICS 1 mean and spread of what is written go to _Partials
//
// Sampling reads position (x, y) * SAMPLING.xy + SAMPLING.zw of the source; OPTION is how nearest rounds.

#include "Common.hlsl"

#define THREADS (THREADS_X * THREADS_Y)

#if STATISTICS == 1
groupshared float4 Shared[THREADS];
#include "Statistics.hlsl"
#endif

#define ROUND_FLOOR 0
#define ROUND_CEIL 1
#define ROUND_PREFER_FLOOR 2
#define ROUND_PREFER_CEIL 3

int2 Nearest(float2 at)
{
    if (OPTION == ROUND_CEIL) at = ceil(at);
    else if (OPTION == ROUND_PREFER_FLOOR) at = ceil(at - 0.5);
    else if (OPTION == ROUND_PREFER_CEIL) at = floor(at + 0.5);
    else at = floor(at);
    return clamp((int2)at, int2(0, 0), int2(SOURCE_WIDTH - 1, SOURCE_HEIGHT - 1));
}

float4 Sampled(int block, int2 pixel)
{
#if SAMPLE == 0
    return Value(block, pixel.x, pixel.y);
#elif SAMPLE == 1
    return Padded(block, pixel.x - PAD_LEFT, pixel.y - PAD_TOP);
#elif SAMPLE == 2
    int2 at = Nearest((float2)pixel * SAMPLING.xy + SAMPLING.zw);
    return Value(block, at.x, at.y);
#else
    float2 last = float2(SOURCE_WIDTH - 1, SOURCE_HEIGHT - 1);
    float2 at = clamp((float2)pixel * SAMPLING.xy + SAMPLING.zw, 0.0, last);
    int2 low = (int2)at;
    int2 high = min(low + 1, (int2)last);
    float2 share = at - (float2)low;
    float4 upper = lerp(Value(block, low.x, low.y), Value(block, high.x, low.y), share.x);
    float4 lower = lerp(Value(block, low.x, high.y), Value(block, high.x, high.y), share.x);
    return lerp(upper, lower, share.y);
#endif
}

[numthreads(THREADS_X, THREADS_Y, 1)]
void ENTRY(uint3 group : SV_GroupID, uint3 inGroup : SV_GroupThreadID, uint thread : SV_GroupIndex)
{
    int block = (int)group.z;
    int2 pixel = (int2)(group.xy * uint2(THREADS_X, THREADS_Y) + inGroup.xy);
    bool inside = pixel.x < OUTPUT_WIDTH && pixel.y < OUTPUT_HEIGHT;
    float4 value = 0.0;
    if (inside)
    {
        value = Finished(Sampled(block, pixel), block);
#if STORE == 1
        Write(value, block, pixel.x, pixel.y);
#endif
    }

#if STATISTICS == 1
    int2 size = min(int2(OUTPUT_WIDTH, OUTPUT_HEIGHT) - (int2)group.xy * int2(THREADS_X, THREADS_Y),
        int2(THREADS_X, THREADS_Y));
    float count = size.x * size.y;
    float4 pivot = FirstOfGroup(value, thread);
    float4 mean = pivot + GroupSum(inside ? value - pivot : 0.0, thread) / count;
    float4 apart = inside ? value - mean : 0.0;
    float4 spread = GroupSum(apart * apart, thread);
    WritePartial(mean, spread, count, block, (int)group.y * TILES_ACROSS + (int)group.x, thread);
#endif
}
