// Rearranges channels: each channel of the output is one channel of the source. A thread writes one pixel of four
// channels; a group's third number is the block of channels.
//
// MOVE 0 a slice of channels that begins at OPTION
//      1 depth to space, n = FACTOR, blocks first (DCR);  2 depth to space, columns and rows first (CRD)
//      3 space to depth, n = FACTOR
//      4 the channels of the first term, then those of the second (one after another, at any channel)
//      5 channels shuffled: one of each of the source's OPTION groups after another

#include "Common.hlsl"

float Lane(float4 value, uint lane)
{
    return lane == 0u ? value.x : lane == 1u ? value.y : lane == 2u ? value.z : value.w;
}

float Channel(int channel, int2 pixel)
{
    uint c = (uint)channel;
    uint2 p = (uint2)pixel;
    uint n = FACTOR;
    uint from = c;
    int2 at = pixel;
#if MOVE == 0
    from = c + (uint)OPTION;
#elif MOVE == 1
    from = (p.y % n * n + p.x % n) * (uint)OUTPUT_CHANNELS + c;
    at = (int2)(p / n);
#elif MOVE == 2
    from = (c * n + p.y % n) * n + p.x % n;
    at = (int2)(p / n);
#elif MOVE == 3
    uint phase = c / (uint)SOURCE_CHANNELS;
    from = c % (uint)SOURCE_CHANNELS;
    at = (int2)(p * n + uint2(phase % n, phase / n));
#elif MOVE == 4
    if (channel >= SOURCE_CHANNELS)
    {
        from = c - (uint)SOURCE_CHANNELS;
        return Lane(TermB((int)(from / 4u), at.x, at.y), from % 4u);
    }
#elif MOVE == 5
    from = c % (uint)OPTION * ((uint)OUTPUT_CHANNELS / (uint)OPTION) + c / (uint)OPTION;
#endif
#if MOVE == 4
    return Lane(TermA((int)(from / 4u), at.x, at.y), from % 4u);
#else
    return Lane(Value((int)(from / 4u), at.x, at.y), from % 4u);
#endif
}

[numthreads(THREADS_X, THREADS_Y, 1)]
void ENTRY(uint3 group : SV_GroupID, uint3 inGroup : SV_GroupThreadID)
{
    int block = (int)group.z;
    int2 pixel = (int2)(group.xy * uint2(THREADS_X, THREADS_Y) + inGroup.xy);
    if (pixel.x >= OUTPUT_WIDTH || pixel.y >= OUTPUT_HEIGHT) return;

    // Channels beyond the last are 0.
    int channel = 4 * block;
    float4 value = 0.0;
    value.x = Channel(channel, pixel);
    if (channel + 1 < OUTPUT_CHANNELS) value.y = Channel(channel + 1, pixel);
    if (channel + 2 < OUTPUT_CHANNELS) value.z = Channel(channel + 2, pixel);
    if (channel + 3 < OUTPUT_CHANNELS) value.w = Channel(channel + 3, pixel);
    Write(Finished(value, block), block, pixel.x, pixel.y);
}
