// Operations over all channels of a pixel: each thread computes all channels of one pixel.
//
// ACROSS 0 softmax, 1 normalisation of a pixel's channels (layer norm over channels)

#include "Common.hlsl"

// 1 for the channels of a block that exist.
float4 Existing(int block)
{
    int left = OUTPUT_CHANNELS - 4 * block;
    return float4(1.0, left > 1 ? 1.0 : 0.0, left > 2 ? 1.0 : 0.0, left > 3 ? 1.0 : 0.0);
}

[numthreads(THREADS_X, THREADS_Y, 1)]
void ENTRY(uint3 group : SV_GroupID, uint3 inGroup : SV_GroupThreadID)
{
    int2 pixel = (int2)(group.xy * uint2(THREADS_X, THREADS_Y) + inGroup.xy);
    if (pixel.x >= OUTPUT_WIDTH || pixel.y >= OUTPUT_HEIGHT) return;
    int block;
#if ACROSS == 0
    float4 largest = -3.402823e38;
    [loop]
    for (block = 0; block < OUTPUT_BLOCKS; block++)
        largest = max(largest, Value(block, pixel.x, pixel.y) - 3.402823e38 * (1.0 - Existing(block)));
    float most = max(max(largest.x, largest.y), max(largest.z, largest.w));
    float sum = 0.0;
    [loop]
    for (block = 0; block < OUTPUT_BLOCKS; block++)
        sum += dot(exp(Value(block, pixel.x, pixel.y) - most) * Existing(block), 1.0);
    [loop]
    for (block = 0; block < OUTPUT_BLOCKS; block++)
        Write(Finished(exp(Value(block, pixel.x, pixel.y) - most) / sum * Existing(block), block), block, pixel.x, pixel.y);
#else
    float mean = 0.0;
    [loop]
    for (block = 0; block < OUTPUT_BLOCKS; block++) mean += dot(Value(block, pixel.x, pixel.y), Existing(block));
    mean /= OUTPUT_CHANNELS;
    float spread = 0.0;
    [loop]
    for (block = 0; block < OUTPUT_BLOCKS; block++)
    {
        float4 apart = (Value(block, pixel.x, pixel.y) - mean) * Existing(block);
        spread += dot(apart, apart);
    }
    float scale = 1.0 / sqrt(spread / OUTPUT_CHANNELS + EPSILON);
    [loop]
    for (block = 0; block < OUTPUT_BLOCKS; block++)
    {
        float4 value = (Value(block, pixel.x, pixel.y) - mean) * scale;
        Write(Finished(Scaled(value, WEIGHTS_AT, block), block), block, pixel.x, pixel.y);
    }
#endif
}
