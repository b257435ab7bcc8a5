// Mean and sum of squared differences of what a thread group wrote, left in _Partials for a merge.
//
// Two passes over the values in registers, each relative to a value of the same tile: no digits cancel for any mean,
// and a flat tile has exactly its value as mean and 0 as spread. Needs THREADS, and groupshared
// float4 Shared[] of at least THREADS elements.

#ifndef STYLE_TRANSFER_STATISTICS
#define STYLE_TRANSFER_STATISTICS

// The sum over the group's threads, for all of them.
float4 GroupSum(float4 value, uint thread)
{
    GroupMemoryBarrierWithGroupSync();
    Shared[thread] = value;
    GroupMemoryBarrierWithGroupSync();
    [unroll]
    for (uint half_ = THREADS / 2u; half_ > 0u; half_ /= 2u)
    {
        if (thread < half_) Shared[thread] += Shared[thread + half_];
        GroupMemoryBarrierWithGroupSync();
    }
    return Shared[0];
}

// The value of the group's first thread, for all of them.
float4 FirstOfGroup(float4 value, uint thread)
{
    GroupMemoryBarrierWithGroupSync();
    if (thread == 0u) Shared[0] = value;
    GroupMemoryBarrierWithGroupSync();
    return Shared[0];
}

void WritePartial(float4 mean, float4 spread, float count, int block, int tile, uint thread)
{
    if (thread != 0u) return;
    uint at = (uint)(block * TILES + tile) * 3u;
    _Partials[at] = mean;
    _Partials[at + 1u] = spread;
    _Partials[at + 2u] = count;
}

#endif
