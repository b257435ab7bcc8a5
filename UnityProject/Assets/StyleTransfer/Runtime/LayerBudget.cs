using System;

namespace StyleTransfer
{

/// <summary>
/// Stores the cost of each layer of a network on this machine, and computes how many layers fit into a frame.
/// It uses nothing of Unity.
/// </summary>
public sealed class LayerBudget
{
    #region Public members

    /// <summary>How many layers per frame are run that have not been measured yet.</summary>
    public const int UnknownLayersPerFrame = 4;

    /// <summary>After how many runs the layers are measured again.</summary>
    public const int RunsBetweenMeasurements = 600;

    /// <summary>Weight of a new measurement in the running average.</summary>
    public const float Adaption = 0.5f;

    /// <summary>Creates a budget for a network with a number of layers.</summary>
    public LayerBudget(int layers)
    {
        _milliseconds = new float[Math.Max(1, layers)];
        Forget();
    }

    /// <summary>
    /// Whether the run that begins now should be measured. The first one is not: it also compiles the kernels.
    /// </summary>
    public bool BeginRun()
    {
        var measured = _runs % RunsBetweenMeasurements == 1;
        _runs++;
        return measured;
    }

    /// <summary>Takes a measurement into account.</summary>
    /// <param name="layer">which layer, from 0; those beyond the last count as the last</param>
    /// <param name="milliseconds">what it took</param>
    public void Learn(int layer, float milliseconds)
    {
        var index = Index(layer);
        var known = _milliseconds[index];
        _milliseconds[index] = known < 0 ? milliseconds : known + (milliseconds - known) * Adaption;
    }

    /// <summary>What a layer is expected to take, in milliseconds.</summary>
    /// <param name="layer">which layer, from 0</param>
    /// <param name="budget">milliseconds per frame</param>
    public float Expect(int layer, float budget)
    {
        var known = _milliseconds[Index(layer)];
        return known < 0 ? budget / UnknownLayersPerFrame : known;
    }

    /// <summary>Whether a layer still fits into a frame in which some time is spent already.</summary>
    /// <param name="layer">the next layer, from 0</param>
    /// <param name="spent">milliseconds</param>
    /// <param name="budget">milliseconds per frame</param>
    public bool Fits(int layer, float spent, float budget) => spent + Expect(layer, budget) <= budget;

    /// <summary>The picture's size changed: layers cost in proportion to its pixels.</summary>
    /// <param name="ratio">new pixels over old ones</param>
    public void Scale(float ratio)
    {
        for (var i = 0; i < _milliseconds.Length; i++)
            if (_milliseconds[i] > 0) _milliseconds[i] *= ratio;
    }

    /// <summary>Forgets all measurements.</summary>
    public void Forget()
    {
        for (var i = 0; i < _milliseconds.Length; i++) _milliseconds[i] = Unknown;
        _runs = 0;
    }

    #endregion

    #region Private members

    const float Unknown = -1;

    readonly float[] _milliseconds;
    int _runs;

    int Index(int layer) => Math.Max(0, Math.Min(layer, _milliseconds.Length - 1));

    #endregion
}

}
