// Merges the statistics of tiles: one thread group for each block of four channels.
//
// RESULT 0 a table for a normalisation of each channel by itself: mean, scale, shift
//        1 what a merge of channels needs: mean, sum of squared differences, count
//        2 the mean, as a picture of one pixel
//
// Two sets (n, mean, spread) merge by Chan's formula, in which nothing cancels. SHUFFLE as the kernel that left
// the statistics had it: a channel then lies in SHUFFLE * SHUFFLE blocks of that kernel.

#include "Common.hlsl"

#ifndef SHUFFLE
#define SHUFFLE 1
#endif

// Reading the tiles is most of the time, and few groups do it: many threads to a group.
#define THREADS 128

StructuredBuffer<float4> _Tiles;
RWStructuredBuffer<float4> _NewTables;

groupshared float4 Means[THREADS];
groupshared float4 Spreads[THREADS];
groupshared float Counts[THREADS];

void Add(inout float4 mean, inout float4 spread, inout float count, float4 otherMean, float4 otherSpread, float other)
{
    float all = count + other;
    float share = all > 0.0 ? other / all : 0.0;
    float4 apart = otherMean - mean;
    mean += apart * share;
    spread += otherSpread + apart * apart * (count * share);
    count = all;
}

[numthreads(THREADS, 1, 1)]
void ENTRY(uint3 group : SV_GroupID, uint thread : SV_GroupIndex)
{
    int block = (int)group.x;
    float4 mean = 0.0, spread = 0.0;
    float count = 0.0;
    [loop]
    for (uint item = thread; item < (uint)(TILES * SHUFFLE * SHUFFLE); item += THREADS)
    {
        int phase = (int)(item / (uint)TILES);
        int tile = (int)(item % (uint)TILES);
        uint at = (uint)((phase * BLOCKS_A_PHASE + block) * TILES + tile) * 3u;
        Add(mean, spread, count, _Tiles[at], _Tiles[at + 1u], _Tiles[at + 2u].x);
    }
    Means[thread] = mean;
    Spreads[thread] = spread;
    Counts[thread] = count;
    GroupMemoryBarrierWithGroupSync();
    [unroll]
    for (uint half_ = THREADS / 2u; half_ > 0u; half_ /= 2u)
    {
        if (thread < half_)
        {
            Add(mean, spread, count, Means[thread + half_], Spreads[thread + half_], Counts[thread + half_]);
            Means[thread] = mean;
            Spreads[thread] = spread;
            Counts[thread] = count;
        }
        GroupMemoryBarrierWithGroupSync();
    }
    if (thread != 0u) return;

    uint to = (uint)(TABLE_OUTPUT + 3 * block);
#if RESULT == 0
    _NewTables[to] = mean;
    float4 deviation = sqrt(spread / count + EPSILON) + EPSILON_OUTSIDE;
    _NewTables[to + 1u] = _Weights[(uint)(WEIGHTS_AT + 2 * block)] / max(deviation, 1e-20);
    _NewTables[to + 2u] = _Weights[(uint)(WEIGHTS_AT + 2 * block + 1)];
#elif RESULT == 1
    _NewTables[to] = mean;
    _NewTables[to + 1u] = spread;
    _NewTables[to + 2u] = count;
#else
    Write(Finished(mean, block), block, 0, 0);
#endif
}
