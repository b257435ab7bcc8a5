using System;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// Textures into which a render pipeline's buffers are copied for a camera's frame, because those cannot be read or no
/// longer exist when they are needed. Each is created when it is first requested, and again for another size.
/// </summary>
public sealed class CameraCopies : IDisposable
{
    #region Public members

    /// <summary>For the camera's picture.</summary>
    public RenderTexture PreparePicture(int width, int height)
    {
        if (!Fits(_picture, width, height)) Allocate(ref _picture, width, height, Textures.PreciseFormat);
        return _picture;
    }

    /// <summary>For the camera's depth, as numbers.</summary>
    public RenderTexture PrepareDepth(int width, int height)
    {
        if (!Fits(_depth, width, height)) AllocateExact(ref _depth, width, height, RenderTextureFormat.RFloat);
        return _depth;
    }

    /// <summary>For the camera's normals as HDRP packs them: exact bytes.</summary>
    public RenderTexture PrepareNormals(int width, int height)
    {
        if (!Fits(_normals, width, height)) AllocateExact(ref _normals, width, height, RenderTextureFormat.ARGB32);
        return _normals;
    }

    /// <summary>For the camera's motion vectors.</summary>
    public RenderTexture PrepareMotion(int width, int height)
    {
        if (!Fits(_motion, width, height)) AllocateExact(ref _motion, width, height, RenderTextureFormat.RGHalf);
        return _motion;
    }

    /// <summary>For the stylised picture, in the format of the camera's, so that it can be copied over it.</summary>
    /// <param name="camera">the camera's picture, which may be larger, and a slice of an array</param>
    /// <param name="width">in use</param>
    /// <param name="height">in use</param>
    public RenderTexture PrepareResult(RenderTexture camera, int width, int height)
    {
        if (!Fits(_result, width, height) || _result.graphicsFormat != camera.graphicsFormat)
            AllocateResult(camera, width, height);
        return _result;
    }

    /// <summary>Frees the textures.</summary>
    public void Dispose() => ReleaseTextures();

    #endregion

    #region Private members

    RenderTexture _picture, _depth, _normals, _motion, _result;

    static bool Fits(RenderTexture texture, int width, int height)
      => texture != null && texture.width == width && texture.height == height;

    static void Allocate(ref RenderTexture texture, int width, int height, RenderTextureFormat format)
    {
        Textures.Release(texture);
        texture = Textures.AllocateTarget(width, height, format, false);
    }

    static void AllocateExact(ref RenderTexture texture, int width, int height, RenderTextureFormat format)
    {
        Allocate(ref texture, width, height, format);
        texture.filterMode = FilterMode.Point;
    }

    void AllocateResult(RenderTexture camera, int width, int height)
    {
        Textures.Release(_result);
        _result = new RenderTexture(width, height, 0, camera.graphicsFormat);
        _result.name = "Style Transfer";
        _result.hideFlags = HideFlags.HideAndDontSave;
        _result.Create();
    }

    void ReleaseTextures()
    {
        Textures.Release(_result);
        _result = null;
        Textures.Release(_motion);
        _motion = null;
        Textures.Release(_normals);
        _normals = null;
        Textures.Release(_depth);
        _depth = null;
        Textures.Release(_picture);
        _picture = null;
    }

    #endregion
}

}
