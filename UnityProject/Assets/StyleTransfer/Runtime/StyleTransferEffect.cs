using System;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// Stylises a camera, independent of the render pipeline: takes pictures from the camera, runs the network on them at
/// its own pace, and shows the last finished picture, reprojected to the current frame.
/// </summary>
/// <remarks>
/// Three steps per frame. <see cref="Observe"/> and <see cref="Compose"/> draw, at once or into a command buffer.
/// <see cref="Run"/> runs the network, at once: after Observe in the built-in pipeline, and in URP and HDRP before
/// the next frame, when the commands of the last one are with the GPU. Where an engine can record and a run is not
/// spread over frames, Observe records it too, and there is nothing left to run.
/// </remarks>
sealed class StyleTransferEffect : IDisposable
{
    #region Public members

    /// <summary>Frames that the first run of another style is spread over, so that switching is smooth.</summary>
    public const int FirstRunFrames = 8;

    /// <summary>Creates an effect.</summary>
    /// <param name="settings">read in every frame; also named by messages</param>
    /// <exception cref="InvalidOperationException">a shader is missing</exception>
    public StyleTransferEffect(StyleTransferSettings settings)
    {
        _settings = settings;
        try
        {
            AllocateObjects();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The runner of the style that is shown, or of the next one; null if there is none.</summary>
    public StyleTransferRunner Runner => _styles.Shown ?? _styles.Wanted;

    /// <summary>How many networks are loaded, of styles and masks.</summary>
    public int LoadedStyles => _styles.Count + _masks.Count;

    /// <summary>Actual lines divided by requested lines; below 1 if the frame rate requires it.</summary>
    public float ResolutionScale => _settings.TargetFrameRate > 0 ? _governor.Scale : 1;

    /// <summary>Whether a recorded frame shows the network's output for that frame, not for an earlier one.</summary>
    public bool RunsInsideFrames
      => CanRunInside(_styles.Wanted) && _styles.Shown == _styles.Wanted && _settings.RunEveryFrames == 1 &&
         (_masks.Wanted == null || CanRunInside(_masks.Wanted));

    /// <summary>By how many frames the picture shown is delayed; above 0 only with interpolation.</summary>
    public int Delay => _between != null ? _between.Delay : 0;

    /// <summary>What <see cref="MotionSource.Copies"/> reads.</summary>
    public void SetCopies(Texture depth, Texture motion)
    {
        if (Interpolates)
        {
            if (_between == null) AllocateBetween();
            _between.SetCopies(depth, motion);
            return;
        }
        if (_reprojection == null) AllocateReprojection();
        _reprojection.SetCopies(depth, motion);
    }

    /// <summary>Sets where the camera's depth and normals are in this frame, for networks that take them.</summary>
    /// <param name="source">the render pipeline's</param>
    /// <param name="depth">a copy of the depth; null where it is not a copy</param>
    /// <param name="normals">a copy of the packed normals; null where they are not a copy</param>
    public void SetGuides(GuideSource source, Texture depth, Texture normals)
    {
        _guideSource = source;
        if (source != GuideSource.Copies) return;
        if (_guides == null) AllocateGuides();
        _guides.SetCopies(depth, normals);
    }

    /// <summary>Loads the selected styles, and adapts the resolution to the target frame rate.</summary>
    /// <param name="frameMilliseconds">what the last frame took</param>
    public void Update(float frameMilliseconds)
    {
        _styles.Update(_settings.CurrentModel, _settings.PreloadStyles ? _settings.Styles : null, _running);
        _masks.Update(_settings.MaskModel, null, _masking);
        if (_settings.TargetFrameRate > 0)
            _governor.Tick(frameMilliseconds, MillisecondsPerSecond / _settings.TargetFrameRate);
    }

    /// <summary>Takes the camera's picture for the network if it is time, and notes how the scene moved.</summary>
    /// <param name="painter">draws</param>
    /// <param name="width">of the camera's picture</param>
    /// <param name="height">of the camera's picture</param>
    /// <param name="motion">where motion vectors come from</param>
    /// <param name="camera">the camera</param>
    public void Observe(in Painter painter, int width, int height, MotionSource motion, Camera camera)
    {
        using (Markers.Observe.Auto()) ObserveFrame(painter, width, height, motion, camera);
    }

    void ObserveFrame(in Painter painter, int width, int height, MotionSource motion, Camera camera)
    {
        _framesSinceTaken++;
        var next = _styles.Wanted;
        if (next == null)
        {
            Forget();
            return;
        }

        _moves = motion != MotionSource.None && _settings.Reproject && Reprojection.IsSupported;
        _interpolates = _moves && Interpolates;
        if (!_interpolates) ReleaseBetween();
        if (_interpolates) Keep(painter, width, height, motion, camera, next.Model);
        else if (_moves) Follow(painter, width, height, motion, camera, next.Model);
        if (_reprojection != null && (_interpolates || !_moves)) _reprojection.Forget();

        next.Style = _settings.CurrentMix;
        next.PrepareStyle(Mathf.Max(_settings.SpreadFrames, FirstRunFrames), _settings.BudgetMilliseconds, false);
        if (_running != null || !IsDue(next) || _masks.IsLoading || !next.HasStyle) return;
        TakePicture(painter, width, height, next, camera);
        if (painter.Commands != null && CanRunInside(next) && next.SpreadFrames == 1 &&
            (_masking == null || CanRunInside(_masking))) RecordRun(painter, next);
    }

    /// <summary>Runs one frame's share of the network.</summary>
    public void Run()
    {
        if (_running == null) return;

        using (Markers.Run.Auto())
        {
            if (_masking != null && !_masked && !RunMask()) return;

            if (_taken) _running.Begin();
            _taken = false;
            if (!_running.Advance()) return;

            EndRun(default(Painter), _running.Picture, _masking != null ? _masking.Picture : null);
        }
    }

    // One frame's share of the mask's network, which runs before the style's. True when the style's is to go on.
    bool RunMask()
    {
        if (_maskTaken) _masking.Begin();
        _maskTaken = false;
        if (!_masking.Advance()) return false;
        _masked = true;
        return _masking.SpreadFrames == 1 && _masking.BudgetMilliseconds <= 0;
    }

    /// <summary>
    /// The material to draw the camera's picture with, pass <see cref="PictureConverter.PassFromNetwork"/>; null
    /// where there is nothing to show yet.
    /// </summary>
    /// <param name="painter">draws what is needed before</param>
    /// <param name="mask">where to show the style; null is everywhere</param>
    /// <param name="picture">the camera's picture; then the one to draw, of an earlier frame where that is shown</param>
    public Material Compose(in Painter painter, Texture mask, ref RenderTexture picture)
    {
        if (!_hasPicture) return null;

        using (Markers.Compose.Auto())
        {
            var shown = _picture;
            if (_interpolates)
            {
                if (mask != null) painter.Copy(mask, _between.PrepareMask(mask));
                if (_between.Advance())
                {
                    shown = _between.Draw(painter);
                    if (_between.Full != null) picture = _between.Full;
                    if (mask != null && _between.Mask != null) mask = _between.Mask;
                }
            }
            else if (_moves && _reprojection.CanMove)
            {
                shown = _reprojection.Move(painter, _picture, _now, _settings.Stability);
            }
            var style = _styles.Shown != null ? _styles.Shown.Model : null;
            var strength = _settings.CurrentStrength * (style != null ? style.Strength : 1);
            _converter.SetFromNetwork(shown, strength, _settings.CurrentKeepColors(style), mask, _isJoined);
            return _converter.Material;
        }
    }

    /// <summary>Drops the shown picture and cancels a run in progress: after a cut, or when switched off.</summary>
    public void Forget()
    {
        _hasPicture = false;
        _running = null;
        EndMask();
        _taken = false;
        _styles.Hide();
        if (_reprojection != null) _reprojection.Forget();
        if (_between != null) _between.Forget();
    }

    /// <summary>Logs that the network in use has failed, and does not use it again.</summary>
    public void ReportFailure(Exception exception)
    {
        var mask = _running != null && _masking != null && !_masked ? _masking : null;
        var failed = _running ?? Runner;
        Forget();
        if (mask != null) _masks.ReportFailure(mask, exception);
        else if (failed != null) _styles.ReportFailure(failed, exception);
        else Debug.LogException(exception, _settings);
    }

    /// <summary>Frees everything, and cancels a run in progress.</summary>
    public void Dispose() => ReleaseObjects();

    #endregion

    #region Private objects

    const float MillisecondsPerSecond = 1000;

    readonly StyleTransferSettings _settings;
    readonly FrameRateGovernor _governor = new FrameRateGovernor();
    StyleSet _styles;

    // The network that says where the style is shown, if there is one.
    StyleSet _masks;
    PictureConverter _converter;
    Reprojection _reprojection;
    Interpolation _between;

    // Null until a network takes guides.
    GuidePainter _guides;
    GuideSource _guideSource;

    // The network's last finished picture: a copy, which outlives a change of size or style.
    RenderTexture _picture;
    bool _hasPicture;

    // Its alpha is a mask.
    bool _isJoined;

    // The camera's picture of this frame as the network would see it.
    RenderTexture _now;

    // The run under way, and whether its picture is drawn but not yet handed to the network.
    StyleTransferRunner _running;
    bool _taken;

    // The mask's run on the same frame, which comes first; null without a mask. Whether its picture is drawn but not
    // yet handed to the network, and whether it is finished.
    StyleTransferRunner _masking;
    bool _maskTaken, _masked;
    int _framesSinceTaken;
    bool _moves, _interpolates;

    #endregion

    #region Allocate / deallocate

    void AllocateObjects()
    {
        _converter = new PictureConverter(_settings.ConvertShader);
        _styles = new StyleSet(_settings.Worker, _settings.ConvertShader, _settings);
        _masks = new StyleSet(_settings.Worker, _settings.ConvertShader, _settings);
    }

    void AllocateReprojection() => _reprojection = new Reprojection(_settings.MotionShader);

    void AllocateBetween() => _between = new Interpolation(_settings.MotionShader);

    void AllocateGuides() => _guides = new GuidePainter(_settings.GuidesShader);

    void AllocateNow(WorkingSize size)
    {
        Textures.Release(_now);
        _now = Textures.AllocateTarget(size.Width, size.Height, Textures.PreciseFormat, false);
    }

    void AllocatePicture(int width, int height)
    {
        Textures.Release(_picture);
        _picture = Textures.AllocateTarget(width, height, Textures.PreciseFormat, false);
    }

    // It keeps many textures.
    void ReleaseBetween()
    {
        if (_between != null) _between.Dispose();
        _between = null;
    }

    void ReleaseObjects()
    {
        ReleaseBetween();
        _running = null;
        EndMask();
        _hasPicture = false;
        Textures.Release(_picture);
        _picture = null;
        Textures.Release(_now);
        _now = null;
        if (_guides != null) _guides.Dispose();
        _guides = null;
        if (_reprojection != null) _reprojection.Dispose();
        _reprojection = null;
        if (_masks != null) _masks.Dispose();
        _masks = null;
        if (_styles != null) _styles.Dispose();
        _styles = null;
        if (_converter != null) _converter.Dispose();
        _converter = null;
    }

    #endregion

    #region Private methods

    bool IsDue(StyleTransferRunner next)
      => !_hasPicture || next != _styles.Shown || _framesSinceTaken >= _settings.RunEveryFrames;

    void TakePicture(in Painter painter, int width, int height, StyleTransferRunner next, Camera camera)
    {
        var switches = _hasPicture && next != _styles.Shown;
        next.SpreadFrames = switches ? Mathf.Max(_settings.SpreadFrames, FirstRunFrames) : _settings.SpreadFrames;
        next.BudgetMilliseconds = _settings.BudgetMilliseconds;
        next.Waits = false;
        next.TargetHeight = Mathf.Max(Mathf.Min(_settings.MinimumHeight, _settings.TargetHeight),
          Mathf.FloorToInt(_settings.TargetHeight * ResolutionScale + 0.5f));

        painter.DrawCamera(next.Prepare(width, height), next.ToNetwork, PictureConverter.PassToNetwork);
        if (next.Model.HasGuides)
        {
            if (_guides == null) AllocateGuides();
            _guides.Draw(painter, next, _settings, camera, _guideSource, width, height);
        }
        TakeMaskPicture(painter, width, height, next);
        if (_interpolates) _between.Begin();
        else if (_moves) _reprojection.Begin(painter);
        _running = next;
        _taken = true;
        _framesSinceTaken = 0;
    }

    void TakeMaskPicture(in Painter painter, int width, int height, StyleTransferRunner next)
    {
        _masking = _masks.Wanted;
        _masked = false;
        if (_masking == null) return;

        _masking.SpreadFrames = next.SpreadFrames;
        _masking.BudgetMilliseconds = next.BudgetMilliseconds;
        _masking.Waits = false;
        painter.DrawCamera(_masking.Prepare(width, height), _masking.ToNetwork, PictureConverter.PassToNetwork);
        _maskTaken = true;
    }

    bool CanRunInside(StyleTransferRunner runner)
      => runner != null && runner.CanRecord && _settings.SpreadFrames == 1 && _settings.BudgetMilliseconds <= 0;

    void RecordRun(in Painter painter, StyleTransferRunner runner)
    {
        using (Markers.Run.Auto())
        {
            _taken = false;
            _maskTaken = false;
            var mask = _masking != null ? _masking.Record(painter.Commands) : null;
            _masked = true;
            EndRun(painter, runner.Record(painter.Commands), mask);
        }
    }

    void EndRun(in Painter painter, Texture picture, Texture mask)
    {
        KeepPicture(painter, picture, mask);
        _styles.Show(_running);
        if (_reprojection != null) _reprojection.Finish();
        if (_between != null) _between.Finish(painter, _picture);
        _running = null;
        EndMask();
    }

    void EndMask()
    {
        _masking = null;
        _maskTaken = false;
        _masked = false;
    }

    // The governor has no say in this size, so that it does not restart the histories.
    void Follow(in Painter painter, int width, int height, MotionSource motion, Camera camera,
                StyleTransferModel model)
    {
        if (_reprojection == null) AllocateReprojection();
        var size = model.FitSize(width, height, _settings.TargetHeight);
        if (_now == null || _now.width != size.Width || _now.height != size.Height) AllocateNow(size);

        _converter.SetToNetwork(width, height, size, false);
        painter.DrawCamera(_now, _converter.Material, PictureConverter.PassToNetwork);
        _reprojection.Update(painter, motion, camera, size);
    }

    // In edit mode frames are drawn when something changes: none is to be late.
    bool Interpolates => _settings.Interpolate && Application.isPlaying && Interpolation.IsSupported;

    // The most frames until a picture is there, one later in URP and HDRP; with a budget nobody knows.
    int Duration
    {
        get
        {
            var frames = _settings.BudgetMilliseconds > 0 ? StyleTransferSettings.MaximumFrames : _settings.SpreadFrames;
            if (_settings.Styles.Length > 1) frames = Mathf.Max(frames, FirstRunFrames);
            return _settings.MaskModel != null ? 2 * frames : frames;
        }
    }

    // All that is needed to show this frame later.
    void Keep(in Painter painter, int width, int height, MotionSource motion, Camera camera, StyleTransferModel model)
    {
        if (_between == null) AllocateBetween();
        var size = model.FitSize(width, height, _settings.TargetHeight);
        var duration = Duration;
        _between.Update(painter, motion, camera, size, Mathf.Max(_settings.RunEveryFrames, duration), duration);

        _converter.SetToNetwork(width, height, size, false);
        painter.DrawCamera(_between.PrepareSmall(), _converter.Material, PictureConverter.PassToNetwork);
        if (_settings.CurrentStrength < 1 || _settings.NeedsMask)
            painter.CopyCamera(_between.PrepareFull(width, height));
    }

    void KeepPicture(in Painter painter, Texture picture, Texture mask)
    {
        if (_picture == null || _picture.width != picture.width || _picture.height != picture.height)
            AllocatePicture(picture.width, picture.height);
        _isJoined = mask != null;
        if (_isJoined)
        {
            _converter.SetJoin(mask, _settings.InvertMask);
            painter.Draw(picture, _picture, _converter.Material, PictureConverter.PassJoin);
        }
        else
        {
            painter.Copy(picture, _picture);
        }
        _hasPicture = true;
    }

    #endregion
}

}
