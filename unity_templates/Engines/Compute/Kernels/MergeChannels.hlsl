// Merges the statistics of channels into a table (mean, scale, shift) for a normalisation of groups of OPTION
// channels; a thread writes one block of four channels.

#include "Common.hlsl"

#define THREADS 64

// Holds both: what a merge of RESULT 1 left for each channel, and the table.
RWStructuredBuffer<float4> _NewTables;

float Lane(float4 value, uint lane)
{
    return lane == 0u ? value.x : lane == 1u ? value.y : lane == 2u ? value.z : value.w;
}

// Mean and variance of the group that a channel belongs to.
float2 OfGroup(int channel)
{
    float mean = 0.0, spread = 0.0, count = 0.0;
    int first = (int)((uint)channel / (uint)OPTION) * OPTION;
    [loop]
    for (int other = first; other < min(first + OPTION, OUTPUT_CHANNELS); other++)
    {
        uint at = (uint)(TABLE_A + 3 * (other >> 2));
        uint lane = (uint)other & 3u;
        float add = _NewTables[at + 2u].x;
        float share = add / (count + add);
        float apart = Lane(_NewTables[at], lane) - mean;
        mean += apart * share;
        spread += Lane(_NewTables[at + 1u], lane) + apart * apart * (count * share);
        count += add;
    }
    return float2(mean, spread / max(count, 1.0));
}

[numthreads(THREADS, 1, 1)]
void ENTRY(uint3 id : SV_DispatchThreadID)
{
    int block = (int)id.x;
    if (block >= OUTPUT_BLOCKS) return;
    float2 x = OfGroup(4 * block);
    float2 y = OfGroup(4 * block + 1);
    float2 z = OfGroup(4 * block + 2);
    float2 w = OfGroup(4 * block + 3);
    uint to = (uint)(TABLE_OUTPUT + 3 * block);
    _NewTables[to] = float4(x.x, y.x, z.x, w.x);
    _NewTables[to + 1u] = _Weights[(uint)(WEIGHTS_AT + 2 * block)] / sqrt(float4(x.y, y.y, z.y, w.y) + EPSILON);
    _NewTables[to + 2u] = _Weights[(uint)(WEIGHTS_AT + 2 * block + 1)];
}
