using System;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// A texture for each of the last frames, by the frame's number. Each is created when it is first requested.
/// </summary>
sealed class FrameTextures : IDisposable
{
    #region Public members

    /// <summary>Creates textures for a number of frames.</summary>
    public FrameTextures(int count)
    {
        _textures = new RenderTexture[count];
        _frames = new int[count];
        Forget();
    }

    /// <summary>The texture for a frame, to be drawn on; that of the frame <c>count</c> earlier is lost.</summary>
    /// <param name="frame">the frame's number, from 0</param>
    /// <param name="width">in pixels</param>
    /// <param name="height">in pixels</param>
    /// <param name="format">its format</param>
    public RenderTexture Prepare(int frame, int width, int height, RenderTextureFormat format)
    {
        var index = frame % _textures.Length;
        var texture = _textures[index];
        if (texture == null || texture.width != width || texture.height != height)
            Allocate(index, width, height, format);
        _frames[index] = frame;
        return _textures[index];
    }

    /// <summary>The texture of a frame; null if there is none.</summary>
    /// <param name="frame">the frame's number; below 0 is not a frame</param>
    public RenderTexture Of(int frame)
    {
        if (frame < 0) return null;
        var index = frame % _textures.Length;
        return _frames[index] == frame ? _textures[index] : null;
    }

    /// <summary>Drops all frames; the textures are reused.</summary>
    public void Forget()
    {
        for (var i = 0; i < _frames.Length; i++) _frames[i] = NoFrame;
    }

    /// <summary>Frees the textures.</summary>
    public void Dispose() => ReleaseTextures();

    #endregion

    #region Private members

    const int NoFrame = -1;

    readonly RenderTexture[] _textures;
    readonly int[] _frames;

    void Allocate(int index, int width, int height, RenderTextureFormat format)
    {
        Textures.Release(_textures[index]);
        _textures[index] = Textures.AllocateTarget(width, height, format, false);
    }

    void ReleaseTextures()
    {
        for (var i = _textures.Length - 1; i >= 0; i--)
        {
            Textures.Release(_textures[i]);
            _textures[i] = null;
        }
    }

    #endregion
}

}
