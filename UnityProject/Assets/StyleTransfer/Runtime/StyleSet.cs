using System;
using System.Collections.Generic;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// The loaded networks of a camera: the one that is shown, the one that was selected, and those that are kept loaded.
/// </summary>
/// <remarks>
/// At most one network is loaded at a time, and at most one per frame. Packed ones are rebuilt on another thread;
/// the rest stays on the main thread, where the packages need it: ModelLoader of Barracuda 3.0.0, for instance, asks
/// for Time.realtimeSinceStartup (ModelLoader.cs:215), which no other thread may.
/// </remarks>
sealed class StyleSet : IDisposable
{
    #region Public members

    /// <summary>An empty set.</summary>
    /// <param name="requested">the worker for the networks</param>
    /// <param name="convertShader">for the runners</param>
    /// <param name="owner">named by messages in the console</param>
    public StyleSet(StyleTransferWorker requested, Shader convertShader, UnityEngine.Object owner)
    {
        _requested = requested;
        _convertShader = convertShader;
        _owner = owner;
    }

    /// <summary>The runner of the picture that is shown; null before the first.</summary>
    public StyleTransferRunner Shown { get; private set; }

    /// <summary>The runner of the selected style; null until it is loaded, or if it cannot be loaded.</summary>
    public StyleTransferRunner Wanted => RunnerOf(_wanted);

    /// <summary>Whether the selected style is still to be loaded: it is neither loaded nor has it failed.</summary>
    public bool IsLoading => _wanted != null && Wanted == null && !_failed.Contains(_wanted);

    /// <summary>How many networks are loaded.</summary>
    public int Count => _runners.Count;

    /// <summary>
    /// Loads at most one network, the selected one before those that are kept, and frees those that are not needed.
    /// </summary>
    /// <param name="wanted">the style to show; may be null</param>
    /// <param name="kept">styles to have ready; null for none</param>
    /// <param name="busy">a runner in use; may be null</param>
    public void Update(StyleTransferModel wanted, StyleTransferModel[] kept, StyleTransferRunner busy)
    {
        _wanted = wanted;
        ReleaseRetired();
        ReleaseUnneeded(kept, busy);
        if (_loading != null && !IsNeeded(_loading.Model, kept)) _loading = null;
        if (LoadIfMissing(wanted) || kept == null) return;
        foreach (var model in kept)
            if (LoadIfMissing(model)) return;
    }

    /// <summary>Call this when a runner has finished a picture, which is shown from then on.</summary>
    public void Show(StyleTransferRunner runner) => Shown = runner;

    /// <summary>Call this when no picture is shown any longer.</summary>
    public void Hide() => Shown = null;

    /// <summary>Logs that a network has failed, and does not load it again. It is freed before the next frame, because
    /// commands of this frame may refer to its textures.</summary>
    public void ReportFailure(StyleTransferRunner runner, Exception exception)
    {
        Debug.LogError("Style Transfer: '" + runner.Model.DisplayName + "' failed and is switched off until " +
          "the component is enabled again. " + exception, _owner);
        _failed.Add(runner.Model);
        if (Shown == runner) Shown = null;
        _runners.Remove(runner);
        _retired.Add(runner);
    }

    /// <summary>Frees all networks, and cancels a run in progress.</summary>
    public void Dispose() => ReleaseAll();

    #endregion

    #region Private members

    readonly StyleTransferWorker _requested;
    readonly Shader _convertShader;
    readonly UnityEngine.Object _owner;
    readonly List<StyleTransferRunner> _runners = new List<StyleTransferRunner>();
    readonly List<StyleTransferRunner> _retired = new List<StyleTransferRunner>();
    readonly List<StyleTransferModel> _failed = new List<StyleTransferModel>();
    StyleTransferModel _wanted;
    string _reportedNote;

    // A packed network that is being rebuilt. It can simply be dropped, because it owns nothing that must be freed.
    NetworkLoad _loading;

    StyleTransferRunner RunnerOf(StyleTransferModel model)
    {
        for (var i = 0; i < _runners.Count; i++)
            if (ReferenceEquals(_runners[i].Model, model)) return _runners[i];
        return null;
    }

    // True if a network was loaded, or is being, or could not be: each takes a while.
    bool LoadIfMissing(StyleTransferModel model)
    {
        if (model == null || RunnerOf(model) != null || _failed.Contains(model)) return false;
        AllocateStep(model);
        return true;
    }

    void AllocateStep(StyleTransferModel model)
    {
        try
        {
            if (_loading == null || !ReferenceEquals(_loading.Model, model)) _loading = NetworkLoad.Start(model);
            if (!_loading.IsReady) return;

            var ready = _loading;
            _loading = null;
            using (Markers.Load.Auto()) _runners.Add(new StyleTransferRunner(ready, _requested, _convertShader));
            ReportNote(_runners[_runners.Count - 1].WorkerNote);
        }
        catch (Exception exception)
        {
            Debug.LogError(exception.Message, _owner);
            _failed.Add(model);
        }
    }

    void ReleaseUnneeded(StyleTransferModel[] kept, StyleTransferRunner busy)
    {
        for (var i = _runners.Count - 1; i >= 0; i--)
        {
            var runner = _runners[i];
            if (runner != busy && runner != Shown && !IsNeeded(runner.Model, kept)) Release(runner);
        }
    }

    // Once for all styles that it is true of.
    void ReportNote(string note)
    {
        if (note == null || note == _reportedNote) return;
        _reportedNote = note;
        Debug.LogWarning("Style Transfer: " + note, _owner);
    }

    bool IsNeeded(StyleTransferModel model, StyleTransferModel[] kept)
    {
        if (ReferenceEquals(model, _wanted)) return true;
        if (kept == null) return false;
        foreach (var other in kept)
            if (ReferenceEquals(other, model)) return true;
        return false;
    }

    void Release(StyleTransferRunner runner)
    {
        if (Shown == runner) Shown = null;
        _runners.Remove(runner);
        runner.Dispose();
    }

    void ReleaseRetired()
    {
        for (var i = 0; i < _retired.Count; i++) _retired[i].Dispose();
        _retired.Clear();
    }

    void ReleaseAll()
    {
        _loading = null;
        ReleaseRetired();
        for (var i = _runners.Count - 1; i >= 0; i--) Release(_runners[i]);
        _failed.Clear();
    }

    #endregion
}

}
