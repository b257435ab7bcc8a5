using System;
using UnityEngine;
using UnityEngine.Rendering;

namespace StyleTransfer
{

/// <summary>
/// Shows frames between two pictures of the network, the key pictures: the earlier one moved forward and the later one
/// moved back to where things were in that frame, blended by time. Frames are therefore shown late, and what belongs to
/// them is kept until then.
/// </summary>
/// <remarks>
/// A frame is shown as soon as there is a key picture at or after it, and each frame shown is the next one: the delay
/// becomes as long as it must be, which is from one key picture to the next and as long as a run takes. Where a run
/// takes longer than ever before, the last frame is shown again in the meantime.
/// </remarks>
sealed class Interpolation : IDisposable
{
    #region Public members

    /// <summary>Whether this machine supports interpolation.</summary>
    public static bool IsSupported
      => Reprojection.IsSupported && (SystemInfo.copyTextureSupport & CopyTextureSupport.Basic) != 0;

    /// <summary>Creates an interpolation without frames.</summary>
    /// <param name="shader">of StyleTransferMotion.shader; null looks it up by its name</param>
    /// <exception cref="InvalidOperationException">the shader is missing</exception>
    public Interpolation(Shader shader) => AllocateMaterial(shader);

    /// <summary>What <see cref="MotionSource.Copies"/> reads.</summary>
    /// <param name="depth">a copy of the camera's depth</param>
    /// <param name="motion">a copy of its motion vectors</param>
    public void SetCopies(Texture depth, Texture motion)
    {
        _material.SetTexture(DepthCopyId, depth);
        _material.SetTexture(MotionCopyId, motion);
    }

    /// <summary>Adds a frame of the camera.</summary>
    /// <param name="painter">draws</param>
    /// <param name="source">where motion and depth come from</param>
    /// <param name="camera">whose frame it is</param>
    /// <param name="size">of what is kept and shown</param>
    /// <param name="interval">frames from one key picture to the next, at most</param>
    /// <param name="duration">frames from the one that a picture is taken from to the one that it is there in, at
    /// most</param>
    public void Update(in Painter painter, MotionSource source, Camera camera, WorkingSize size, int interval, int duration)
    {
        // Just before a key picture is shown, the one before it is an interval and the delay old.
        var kept = 2 * interval + duration - 1;
        if (_frame == null || _frame.width != size.Width || _frame.height != size.Height || _kept != kept)
            AllocateFrames(size, kept, interval + duration + 1);

        _number++;
        _material.SetVector(EyeDepthId, EyeDepth.Of(camera));
        painter.DrawCamera(_frame, _material, (int)source);
        painter.CopyTo(_frame, _frames, _number % _kept % _columns * size.Width, _number % _kept / _columns * size.Height);
    }

    /// <summary>Where to draw the camera's picture of the latest frame, as the network would see it.</summary>
    public RenderTexture PrepareSmall() => _small.Prepare(_number, _frame.width, _frame.height, RenderTextureFormat.ARGB32);

    /// <summary>Where to copy the camera's own picture of that frame, for a blend with it.</summary>
    /// <param name="width">in pixels</param>
    /// <param name="height">in pixels</param>
    public RenderTexture PrepareFull(int width, int height)
      => _full.Prepare(_number, width, height, Textures.PreciseFormat);

    /// <summary>Where to copy the mask of that frame.</summary>
    /// <param name="mask">the mask</param>
    public RenderTexture PrepareMask(Texture mask)
      => _masks.Prepare(_number, mask.width, mask.height, RenderTextureFormat.ARGB32);

    /// <summary>Call this when a run of the network begins on the latest frame.</summary>
    public void Begin() => _taken = _number;

    /// <summary>Call this when that run is finished.</summary>
    /// <param name="painter">draws</param>
    /// <param name="picture">the picture, which is copied</param>
    public void Finish(in Painter painter, Texture picture)
    {
        if (_taken == NoFrame) return;

        // The delay is far longer than it must be.
        if (_keyCount == MostKeys)
        {
            DropKeys(1);
            _shown = Mathf.Max(_shown, _keyFrames[0]);
        }
        var key = _keys[_keyCount];
        if (key == null || key.width != picture.width || key.height != picture.height)
            AllocateKey(_keyCount, picture.width, picture.height);
        painter.Copy(picture, _keys[_keyCount]);
        _keyFrames[_keyCount] = _taken;
        _keyCount++;
        _taken = NoFrame;
    }

    /// <summary>Advances to the next frame if it can be shown already. Returns false if no frame can be shown.</summary>
    public bool Advance()
    {
        // Drop key pictures before the last one that is not after the shown frame, and those whose frame is no longer kept.
        while (_keyCount > 0 && _number - _keyFrames[0] >= _kept) DropKeys(1);
        if (_keyCount == 0) return _hasShown;

        // Two at a time where the delay is longer than it must be by more than an interval.
        var step = _keyCount == MostKeys ? 2 : 1;
        var next = _shown == NoFrame ? _keyFrames[0] : Mathf.Min(_shown + step, _keyFrames[_keyCount - 1]);
        _shown = Mathf.Max(next, _keyFrames[0]);
        while (_keyCount > 1 && _keyFrames[1] <= _shown) DropKeys(1);
        _isNew = true;
        return true;
    }

    /// <summary>The camera's own picture of the frame shown; null if it was not kept.</summary>
    public RenderTexture Full => _full != null ? _full.Of(_shown) : null;

    /// <summary>The mask of the frame shown; null if there was none.</summary>
    public RenderTexture Mask => _masks != null ? _masks.Of(_shown) : null;

    /// <summary>By how many frames the frame shown is older than the latest one.</summary>
    public int Delay => _shown == NoFrame ? 0 : _number - _shown;

    /// <summary>The stylised picture of the frame that <see cref="Advance"/> selected.</summary>
    /// <param name="painter">draws</param>
    public RenderTexture Draw(in Painter painter)
    {
        if (!_isNew) return _filled;
        _isNew = false;

        var hasNext = _keyCount > 1 && _shown > _keyFrames[0];
        var after = hasNext ? _keyFrames[1] - _shown : 0;
        var before = _shown - _keyFrames[0];
        var share = hasNext ? (float)before / (before + after) : 0;
        var small = _small.Of(_shown);

        _material.SetTexture(FramesId, _frames);
        _material.SetVector(TilesId, new Vector4(_columns, _rows, _kept, _shown % _kept));
        _material.SetVector(WayId, new Vector4(before, after, share, 0));
        _material.SetTexture(KeyAfterId, _keys[hasNext ? 1 : 0]);
        _material.SetTexture(CameraId, small != null ? small : _interpolated);
        painter.Draw(_keys[0], _interpolated, _material, PassInterpolate);
        painter.Draw(_interpolated, _filled, _material, PassFill);
        _hasShown = true;
        return _filled;
    }

    /// <summary>Drops all frames: after a cut, or if motion is not known.</summary>
    public void Forget()
    {
        _keyCount = 0;
        _taken = NoFrame;
        _shown = NoFrame;
        _hasShown = false;
        _isNew = false;
        if (_small != null) _small.Forget();
        if (_full != null) _full.Forget();
        if (_masks != null) _masks.Forget();
    }

    /// <summary>Frees the material and the textures.</summary>
    public void Dispose() => ReleaseObjects();

    #endregion

    #region Private objects

    // The passes of StyleTransferMotion.shader, and its properties.
    const int PassInterpolate = 6;
    const int PassFill = 7;

    // One before the frame shown, one after, one that is early, and the one being finished.
    const int MostKeys = 4;

    const int NoFrame = -1;

    static readonly int FramesId = Shader.PropertyToID("_Frames");
    static readonly int TilesId = Shader.PropertyToID("_Tiles");
    static readonly int WayId = Shader.PropertyToID("_Way");
    static readonly int KeyAfterId = Shader.PropertyToID("_KeyAfter");
    static readonly int CameraId = Shader.PropertyToID("_Camera");
    static readonly int DepthCopyId = Shader.PropertyToID("_DepthCopy");
    static readonly int MotionCopyId = Shader.PropertyToID("_MotionCopy");
    static readonly int EyeDepthId = Shader.PropertyToID("_EyeDepth");

    readonly RenderTexture[] _keys = new RenderTexture[MostKeys];
    readonly int[] _keyFrames = new int[MostKeys];
    Material _material;

    // This frame's motion and distances, and those of all frames that are kept, as tiles of one texture.
    RenderTexture _frame, _frames;
    RenderTexture _interpolated, _filled;
    FrameTextures _small, _full, _masks;
    int _kept, _columns, _rows;

    // Frames are numbered from the first one on.
    int _number, _keyCount;
    int _taken = NoFrame, _shown = NoFrame;

    // Whether a frame was drawn, and whether another one is to be.
    bool _hasShown, _isNew;

    #endregion

    #region Allocate / deallocate

    void AllocateMaterial(Shader shader)
      => _material = Textures.AllocateMaterial(shader, Reprojection.ShaderName, "Motion Shader");

    void AllocateFrames(WorkingSize size, int kept, int late)
    {
        ReleaseFrames();
        _kept = kept;
        _columns = Mathf.CeilToInt(Mathf.Sqrt(kept));
        _rows = (kept + _columns - 1) / _columns;
        _frame = AllocateExact(size.Width, size.Height);
        _frames = AllocateExact(size.Width * _columns, size.Height * _rows);
        _interpolated = Textures.AllocateTarget(size.Width, size.Height, Textures.PreciseFormat, false);
        _filled = Textures.AllocateTarget(size.Width, size.Height, Textures.PreciseFormat, false);
        _small = new FrameTextures(late);
        _full = new FrameTextures(late);
        _masks = new FrameTextures(late);
    }

    // Of one frame, half precision is enough: motion vectors have no more.
    static RenderTexture AllocateExact(int width, int height)
    {
        var target = Textures.AllocateTarget(width, height, Textures.PreciseFormat, false);
        target.filterMode = FilterMode.Point;
        return target;
    }

    void AllocateKey(int index, int width, int height)
    {
        Textures.Release(_keys[index]);
        _keys[index] = Textures.AllocateTarget(width, height, Textures.PreciseFormat, false);
    }

    void ReleaseFrames()
    {
        Forget();
        if (_masks != null) _masks.Dispose();
        _masks = null;
        if (_full != null) _full.Dispose();
        _full = null;
        if (_small != null) _small.Dispose();
        _small = null;
        Textures.Release(_filled);
        _filled = null;
        Textures.Release(_interpolated);
        _interpolated = null;
        Textures.Release(_frames);
        _frames = null;
        Textures.Release(_frame);
        _frame = null;
    }

    void ReleaseObjects()
    {
        ReleaseFrames();
        for (var i = _keys.Length - 1; i >= 0; i--)
        {
            Textures.Release(_keys[i]);
            _keys[i] = null;
        }
        Textures.Release(_material);
        _material = null;
    }

    #endregion

    #region Private methods

    // The first ones; their textures serve for later ones.
    void DropKeys(int count)
    {
        for (var dropped = 0; dropped < count; dropped++)
        {
            var first = _keys[0];
            for (var i = 1; i < _keyCount; i++)
            {
                _keys[i - 1] = _keys[i];
                _keyFrames[i - 1] = _keyFrames[i];
            }
            _keyCount--;
            _keys[_keyCount] = first;
        }
    }

    #endregion
}

}
