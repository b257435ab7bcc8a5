// A convolution of each channel by itself (KERNEL_X x KERNEL_Y, STRIDE_X, STRIDE_Y, DILATION_X, DILATION_Y): a
// thread computes one pixel of four channels; a group's third number is the block of channels.
//
// STATISTICS 1 mean and spread of what is written go to _Partials

#include "Common.hlsl"

#define THREADS (THREADS_X * THREADS_Y)

#if STATISTICS == 1
groupshared float4 Shared[THREADS];
#include "Statistics.hlsl"
#endif

[numthreads(THREADS_X, THREADS_Y, 1)]
void ENTRY(uint3 group : SV_GroupID, uint3 inGroup : SV_GroupThreadID, uint thread : SV_GroupIndex)
{
    int block = (int)group.z;
    int2 pixel = (int2)(group.xy * uint2(THREADS_X, THREADS_Y) + inGroup.xy);
    bool inside = pixel.x < OUTPUT_WIDTH && pixel.y < OUTPUT_HEIGHT;
    int2 from = pixel * int2(STRIDE_X, STRIDE_Y) - int2(PAD_LEFT, PAD_TOP);
    uint weights = (uint)(WEIGHTS_AT + block * (KERNEL_X * KERNEL_Y));

    float4 value = _Weights[(uint)(BIAS_AT + block)];
    if (inside)
    {
        [loop]
        for (int ky = 0; ky < KERNEL_Y; ky++)
        {
            [unroll]
            for (int kx = 0; kx < KERNEL_X; kx++)
                value += Padded(block, from.x + kx * DILATION_X, from.y + ky * DILATION_Y)
                    * _Weights[weights + (uint)(ky * KERNEL_X + kx)];
        }
    }
    value = Finished(value, block);
#if STORE == 1
    if (inside) Write(value, block, pixel.x, pixel.y);
#endif

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
