using System;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// The source of motion vectors and depth. The values are passes of StyleTransferMotion.shader.
/// </summary>
public enum MotionSource
{
    /// <summary>There are none: a finished picture is shown as it is.</summary>
    None = -1,
    /// <summary>The global textures of the built-in render pipeline.</summary>
    BuiltIn = 0,
    /// <summary>The global textures of URP.</summary>
    Universal = 1,
    /// <summary>Copies that the caller made, as HDRP needs it, see <see cref="StyleTransferCamera"/>.</summary>
    Copies = 2
}

/// <summary>
/// Moves the network's last picture along with the scene until the next one is finished: the material, textures and
/// order of passes of StyleTransferMotion.shader.
/// </summary>
/// <remarks>
/// Two histories of motion are kept: since the picture that is shown was taken from the camera, and since the one
/// that the network works on was.
/// </remarks>
sealed class Reprojection : IDisposable
{
    #region Public members

    /// <summary>The name of the shader that is looked up if none is given.</summary>
    public const string ShaderName = "Hidden/StyleTransfer/Motion";

    /// <summary>Whether this machine supports the textures that store distances.</summary>
    public static bool IsSupported => SystemInfo.SupportsRenderTextureFormat(RenderTextureFormat.ARGBHalf);

    /// <summary>Creates a reprojection without history.</summary>
    /// <param name="shader">the shader; null looks it up by its name</param>
    /// <exception cref="InvalidOperationException">the shader is missing</exception>
    public Reprojection(Shader shader) => AllocateMaterial(shader);

    /// <summary>Whether the motion since the shown picture was taken is known.</summary>
    public bool CanMove => _knowsShown;

    /// <summary>What <see cref="MotionSource.Copies"/> reads.</summary>
    /// <param name="depth">a copy of the camera's depth</param>
    /// <param name="motion">a copy of its motion vectors</param>
    public void SetCopies(Texture depth, Texture motion)
    {
        _material.SetTexture(DepthCopyId, depth);
        _material.SetTexture(MotionCopyId, motion);
    }

    /// <summary>Adds this frame's motion to the histories.</summary>
    /// <param name="painter">draws</param>
    /// <param name="source">where motion and depth come from</param>
    /// <param name="camera">whose frame it is</param>
    /// <param name="size">of the histories</param>
    public void Update(in Painter painter, MotionSource source, Camera camera, WorkingSize size)
    {
        if (_frame == null || _frame.width != size.Width || _frame.height != size.Height) AllocateTextures(size);

        var before = _frameBefore;
        _frameBefore = _frame;
        _frame = before;
        _framesKnown++;

        _material.SetVector(EyeDepthId, EyeDepth.Of(camera));
        _material.SetTexture(FrameId, _frame);
        painter.DrawCamera(_frame, _material, (int)source);
        if (_knowsShown) Accumulate(painter, ref _shown);
        if (_knowsTaken) Accumulate(painter, ref _taken);
    }

    /// <summary>Call this when a run of the network begins on this frame.</summary>
    public void Begin(in Painter painter)
    {
        painter.Draw(_frame, _taken, _material, PassBegin);
        _knowsTaken = true;
    }

    /// <summary>Call this when that run is finished and its picture is shown.</summary>
    public void Finish()
    {
        var last = _shown;
        _shown = _taken;
        _taken = last;
        _knowsShown = _knowsTaken;
        _knowsTaken = false;
    }

    /// <summary>Moves the shown picture to where its objects are now.</summary>
    /// <param name="painter">draws</param>
    /// <param name="picture">the network's picture</param>
    /// <param name="camera">the camera's picture of this frame, as the network would see it</param>
    /// <param name="stability">the share of what was shown of the same surface in the frame before, below 1</param>
    public RenderTexture Move(in Painter painter, RenderTexture picture, RenderTexture camera, float stability)
    {
        if (_moved == null || _moved.width != camera.width || _moved.height != camera.height)
            AllocateMoved(camera.width, camera.height);

        var before = _movedBefore;
        _movedBefore = _moved;
        _moved = before;

        // Both must be of the frame before this one.
        var knowsBefore = _framesKnown > 1 && _movedAt == _framesKnown - 1;
        _movedAt = _framesKnown;

        _material.SetTexture(HistoryId, _shown);
        _material.SetTexture(CameraId, camera);
        _material.SetTexture(FrameBeforeId, _frameBefore);
        _material.SetTexture(BeforeId, _movedBefore);
        _material.SetFloat(StabilityId, knowsBefore ? stability : 0);
        painter.Draw(picture, _moved, _material, PassMove);
        return _moved;
    }

    /// <summary>Drops the histories: after a cut, or if motion is not known.</summary>
    public void Forget()
    {
        _knowsShown = false;
        _knowsTaken = false;
        _framesKnown = 0;
        _movedAt = 0;
    }

    /// <summary>Frees the material and the textures.</summary>
    public void Dispose() => ReleaseObjects();

    #endregion

    #region Private objects

    // The passes that follow those of MotionSource, and the properties, of StyleTransferMotion.shader.
    const int PassBegin = 3;
    const int PassAccumulate = 4;
    const int PassMove = 5;

    static readonly int FrameId = Shader.PropertyToID("_Frame");
    static readonly int HistoryId = Shader.PropertyToID("_History");
    static readonly int CameraId = Shader.PropertyToID("_Camera");
    static readonly int FrameBeforeId = Shader.PropertyToID("_FrameBefore");
    static readonly int BeforeId = Shader.PropertyToID("_Before");
    static readonly int StabilityId = Shader.PropertyToID("_Stability");
    static readonly int DepthCopyId = Shader.PropertyToID("_DepthCopy");
    static readonly int MotionCopyId = Shader.PropertyToID("_MotionCopy");
    static readonly int EyeDepthId = Shader.PropertyToID("_EyeDepth");

    Material _material;
    RenderTexture _frame, _frameBefore, _shown, _taken, _spare, _moved, _movedBefore;
    bool _knowsShown, _knowsTaken;

    // Frames since the last cut, and the one of them that was moved last.
    int _framesKnown, _movedAt;

    #endregion

    #region Allocate / deallocate

    void AllocateMaterial(Shader shader)
      => _material = Textures.AllocateMaterial(shader, ShaderName, "Motion Shader");

    void AllocateTextures(WorkingSize size)
    {
        ReleaseTextures();
        _frame = AllocateExact(size);
        _frameBefore = AllocateExact(size);
        _shown = AllocateExact(size);
        _taken = AllocateExact(size);
        _spare = AllocateExact(size);
    }

    // Between the motion and distance of two objects there is nothing, so they are not interpolated.
    static RenderTexture AllocateExact(WorkingSize size)
    {
        var target = Textures.AllocateTarget(size.Width, size.Height, Textures.ExactFormat, false);
        target.filterMode = FilterMode.Point;
        return target;
    }

    void AllocateMoved(int width, int height)
    {
        ReleaseMoved();
        _moved = Textures.AllocateTarget(width, height, Textures.PreciseFormat, false);
        _movedBefore = Textures.AllocateTarget(width, height, Textures.PreciseFormat, false);
    }

    void ReleaseObjects()
    {
        ReleaseMoved();
        ReleaseTextures();
        Textures.Release(_material);
        _material = null;
    }

    void ReleaseTextures()
    {
        Forget();
        Textures.Release(_spare);
        _spare = null;
        Textures.Release(_taken);
        _taken = null;
        Textures.Release(_shown);
        _shown = null;
        Textures.Release(_frameBefore);
        _frameBefore = null;
        Textures.Release(_frame);
        _frame = null;
    }

    void ReleaseMoved()
    {
        _movedAt = 0;
        Textures.Release(_movedBefore);
        _movedBefore = null;
        Textures.Release(_moved);
        _moved = null;
    }

    #endregion

    #region Private methods

    void Accumulate(in Painter painter, ref RenderTexture history)
    {
        painter.Draw(history, _spare, _material, PassAccumulate);
        var last = history;
        history = _spare;
        _spare = last;
    }

    #endregion
}

}
