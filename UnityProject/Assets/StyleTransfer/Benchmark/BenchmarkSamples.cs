using System;

namespace StyleTransfer.Benchmark
{

/// <summary>
/// The times of one case, in milliseconds, and what is reported of them.
/// </summary>
public sealed class BenchmarkSamples
{
    #region Public members

    /// <summary>How many times were taken.</summary>
    public int Count { get; private set; }

    /// <summary>Room for this many times; more are refused.</summary>
    public BenchmarkSamples(int capacity)
    {
        _times = new double[Math.Max(1, capacity)];
    }

    /// <summary>Takes one time, in milliseconds.</summary>
    /// <exception cref="InvalidOperationException">there is no more room</exception>
    public void Add(double milliseconds)
    {
        if (Count == _times.Length) throw new InvalidOperationException("there is only room for " + Count + " times");
        _times[Count++] = milliseconds;
    }

    /// <summary>Forgets all times.</summary>
    public void Clear() => Count = 0;

    /// <summary>The shortest time; 0 without any.</summary>
    public double Minimum => Percentile(0);

    /// <summary>The time that half of the runs did not exceed.</summary>
    public double Median => Percentile(0.5);

    /// <summary>The mean; 0 without any.</summary>
    public double Mean
    {
        get
        {
            if (Count == 0) return 0;
            var sum = 0.0;
            for (var i = 0; i < Count; i++) sum += _times[i];
            return sum / Count;
        }
    }

    /// <summary>
    /// The time that a share of the runs did not exceed, interpolated linearly between the two nearest, as numpy's
    /// percentile does; 0 without any.
    /// </summary>
    /// <param name="share">0 to 1: 0.95 is the 95th percentile</param>
    public double Percentile(double share)
    {
        if (Count == 0) return 0;

        var sorted = new double[Count];
        Array.Copy(_times, sorted, Count);
        Array.Sort(sorted);

        var place = Math.Min(Math.Max(share, 0), 1) * (Count - 1);
        var below = (int)Math.Floor(place);
        var above = Math.Min(below + 1, Count - 1);
        return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
    }

    #endregion

    #region Private objects

    readonly double[] _times;

    #endregion
}

}
