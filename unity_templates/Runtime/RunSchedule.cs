using System;
using System.Diagnostics;
using UnityEngine;
using UnityEngine.Rendering;

namespace StyleTransfer
{

/// <summary>
/// One run of a network, spread over frames: by a number of frames, or by milliseconds per frame.
/// </summary>
sealed class RunSchedule : IDisposable
{
    #region Public members

    /// <summary>Creates the schedule of a network.</summary>
    /// <param name="network">the network to run; the caller disposes it</param>
    public RunSchedule(StyleTransferNetwork network) => AllocateObjects(network);

    /// <summary>Whether a run is in progress.</summary>
    public bool IsRunning { get; private set; }

    /// <summary>Begins a run, without computing a layer yet.</summary>
    public void Begin()
    {
        _network.Begin();
        IsRunning = true;
        _layer = 0;
        _frames = 0;
        _measures = _timer.CanMeasure && _budget.BeginRun();
    }

    /// <summary>Runs one frame's share. Returns true when the run is finished.</summary>
    /// <param name="spreadFrames">the most frames that a run may take, where no milliseconds are given</param>
    /// <param name="milliseconds">time limit per frame; 0 uses <paramref name="spreadFrames"/></param>
    /// <param name="waits">whether to wait for the GPU or for jobs; otherwise the run continues in a later frame</param>
    public bool Advance(int spreadFrames, float milliseconds, bool waits)
    {
        if (!waits && _network.IsWaiting) return false;

        var ended = milliseconds > 0 && _timer.CanMeasure
          ? AdvanceWithin(milliseconds, waits) : AdvanceShare(spreadFrames, waits);
        if (ended) IsRunning = false;
        return ended;
    }

    /// <summary>Cancels a run in progress.</summary>
    public void Cancel() => IsRunning = false;

    /// <summary>Call this when the picture's size has changed; a run in progress is cancelled.</summary>
    /// <param name="pixelRatio">new pixels over old ones</param>
    public void Resize(float pixelRatio)
    {
        IsRunning = false;
        _budget.Scale(pixelRatio);
    }

    /// <summary>Frees the timer, and cancels a run in progress.</summary>
    public void Dispose() => ReleaseObjects();

    #endregion

    #region Private members

    StyleTransferNetwork _network;
    LayerBudget _budget;
    LayerTimer _timer;
    int _layer, _frames;
    bool _measures;

    void AllocateObjects(StyleTransferNetwork network)
    {
        _network = network;
        _budget = new LayerBudget(network.LayerCount);
        _timer = new LayerTimer(network.ComputesOnCpu);
    }

    void ReleaseObjects()
    {
        IsRunning = false;
        if (_timer != null) _timer.Dispose();
        _timer = null;
        _budget = null;
        _network = null;
    }

    bool AdvanceShare(int spreadFrames, bool waits)
    {
        _frames++;
        var last = _frames >= spreadFrames;
        var goal = (float)_frames / Mathf.Max(1, spreadFrames);

        while (_network.RunLayer())
            if ((!last && _network.Progress >= goal) || (!waits && _network.IsWaiting)) return false;

        return true;
    }

    // At least one layer, so that every run comes to an end.
    bool AdvanceWithin(float milliseconds, bool waits)
    {
        var spent = 0f;
        do
        {
            if (_measures) _timer.Begin();
            var more = _network.RunLayer();
            if (_measures) _budget.Learn(_layer, _timer.End());

            if (!more) return true;
            if (!waits && _network.IsWaiting) return false;
            spent += _budget.Expect(_layer, milliseconds);
            _layer++;
        }
        while (_budget.Fits(_layer, spent, milliseconds));
        return false;
    }

    #endregion
}

/// <summary>
/// Measures what layers take: CPU workers by the clock, GPU workers by waiting for the GPU before and after.
/// </summary>
/// <remarks>
/// Waiting stalls, so runs are rarely measured (<see cref="LayerBudget.RunsBetweenMeasurements"/>). Reading back one
/// texel waits for everything that was queued on the GPU before; Barracuda's own FlushSchedule reads back the whole
/// tensor of the layer (GenericWorker.cs:201 of 3.0.0).
/// </remarks>
sealed class LayerTimer : IDisposable
{
    #region Public members

    /// <summary>A timer.</summary>
    /// <param name="cpu">the worker computes on the CPU</param>
    public LayerTimer(bool cpu) => AllocateObjects(cpu);

    /// <summary>Whether there is a way to wait for this worker.</summary>
    public bool CanMeasure => _cpu || _texel != null;

    /// <summary>Starts the clock as soon as earlier work is done.</summary>
    public void Begin()
    {
        if (!_cpu) Wait();
        _clock.Reset();
        _clock.Start();
    }

    /// <summary>Milliseconds since <see cref="Begin"/>, with all work that was given since then.</summary>
    public float End()
    {
        if (!_cpu) Wait();
        return (float)_clock.Elapsed.TotalMilliseconds;
    }

    /// <summary>Frees the texel.</summary>
    public void Dispose() => ReleaseObjects();

    #endregion

    #region Private members

    bool _cpu;
    Stopwatch _clock;
    RenderTexture _texel;

    void AllocateObjects(bool cpu)
    {
        _cpu = cpu;
        _clock = new Stopwatch();
        if (!cpu && SystemInfo.supportsAsyncGPUReadback)
            _texel = Textures.AllocateTarget(1, 1, RenderTextureFormat.ARGB32, false);
    }

    void ReleaseObjects()
    {
        Textures.Release(_texel);
        _texel = null;
        _clock = null;
    }

    void Wait() => AsyncGPUReadback.Request(_texel).WaitForCompletion();

    #endregion
}

}
