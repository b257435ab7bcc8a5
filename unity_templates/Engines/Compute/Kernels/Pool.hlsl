// Pooling over KERNEL_X x KERNEL_Y pixels in steps of STRIDE_X x STRIDE_Y. A thread computes one pixel of four
// channels; a group's third number is the block of channels.
//
// POOL 0 maximum, 1 average without padding, 2 average with padding counted as 0

#include "Common.hlsl"

[numthreads(THREADS_X, THREADS_Y, 1)]
void ENTRY(uint3 group : SV_GroupID, uint3 inGroup : SV_GroupThreadID)
{
    int block = (int)group.z;
    int2 pixel = (int2)(group.xy * uint2(THREADS_X, THREADS_Y) + inGroup.xy);
    if (pixel.x >= OUTPUT_WIDTH || pixel.y >= OUTPUT_HEIGHT) return;

    int2 from = pixel * int2(STRIDE_X, STRIDE_Y) - int2(PAD_LEFT, PAD_TOP);
    int2 first = max(from, int2(0, 0));
    int2 behind = min(from + int2(KERNEL_X, KERNEL_Y), int2(SOURCE_WIDTH, SOURCE_HEIGHT));
    float4 value = POOL == 0 ? -3.402823e38 : 0.0;
    [loop]
    for (int y = first.y; y < behind.y; y++)
    {
        [loop]
        for (int x = first.x; x < behind.x; x++)
        {
            float4 read = Value(block, x, y);
            value = POOL == 0 ? max(value, read) : value + read;
        }
    }
#if POOL == 1
    value /= max(1, (behind.x - first.x) * (behind.y - first.y));
#elif POOL == 2
    // Padding counts as far as it was declared, which is not where the last window ends in ceil mode; the padding on
    // the right and at the bottom is in the place that a second term's corner has elsewhere.
    int2 padded = int2(SOURCE_WIDTH + SECOND_LEFT, SOURCE_HEIGHT + SECOND_TOP);
    int2 counted = min(from + int2(KERNEL_X, KERNEL_Y), padded) - from;
    value /= counted.x * counted.y;
#endif
    Write(Finished(value, block), block, pixel.x, pixel.y);
}
