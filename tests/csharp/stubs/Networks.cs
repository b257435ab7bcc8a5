// What the stand-ins of all inference packages share: what tests set and read, whatever package runs the networks.
// Part of the stub of UnityEngine.

using System;
using System.Collections.Generic;

namespace Stub
{

public static class Networks
{
    // What a package finds in an imported asset.
    public static readonly Dictionary<UnityEngine.Object, object> ByAsset = new Dictionary<UnityEngine.Object, object>();

    // What a package makes of the bytes of a model file.
    public static Func<byte[], object> ByFile;

    public static int Executions;
    public static int LayersRun;

    // The worker throws at the begin of a run, as for an operator that it lacks.
    public static bool Broken;

    // The preferred CPU worker throws.
    public static bool BurstBroken;

    // Layers take a while that a clock can see.
    public static bool Slow;

    // Every second run is brighter by this, the others darker.
    public static float Flicker;

    // No worker can be created for the network.
    public static bool Impossible;

    // What the last run was given: row, column, channel, from the top.
    public static float[] LastInput;

    // What the last chosen style gave for each style of a network that has several; null for others.
    public static float[] Styles;

    // What networks have made numbers of; see Predict.
    public static int Predictions;

    public static void Reset()
    {
        Predictions = 0;
        Styles = null;
        ByAsset.Clear();
        ByFile = null;
        Executions = LayersRun = 0;
        Broken = BurstBroken = Slow = Impossible = false;
        Flicker = 0;
        LastInput = null;
    }

    // What every network makes of a picture: the inverse, or the picture itself, and the flicker. Of several styles
    // the first inverts, the second keeps the picture, and the third gives black.
    public static void Answer(float[] values, bool keeps)
    {
        var flicker = Executions % 2 == 0 ? Flicker : -Flicker;
        for (var i = 0; i < values.Length; i++)
        {
            if (flicker != 0) values[i] -= flicker;
            if (Styles != null) values[i] = Styles[0] * (1 - values[i]) + Styles[1] * values[i];
            else if (!keeps) values[i] = 1 - values[i];
        }
    }

    // What every style predictor makes of a picture: the mean of each channel.
    public static float[] Predict(float[] values, int channels)
    {
        Predictions++;
        var means = new float[channels];
        for (var i = 0; i < values.Length; i++) means[i % channels] += values[i] * channels / values.Length;
        return means;
    }

    public static void BeginRun()
    {
        if (Broken) throw new NotImplementedException("broken network");
        Executions++;
    }

    public static void RunLayer()
    {
        LayersRun++;
        if (!Slow) return;
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (clock.Elapsed.TotalMilliseconds < 0.01) {}
    }
}

}
