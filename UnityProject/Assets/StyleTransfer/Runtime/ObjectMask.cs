using System;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// A picture that is white where objects of some layers are in front: the material and texture of
/// StyleTransferMask.shader, and the camera that draws it in the built-in render pipeline.
/// </summary>
sealed class ObjectMask : IDisposable
{
    #region Public members

    /// <summary>The name of the shader that is looked up if none is given.</summary>
    public const string ShaderName = "Hidden/StyleTransfer/Mask";

    /// <summary>Creates a mask.</summary>
    /// <param name="shader">the shader; null looks it up by its name</param>
    /// <exception cref="InvalidOperationException">the shader is missing</exception>
    public ObjectMask(Shader shader) => AllocateMaterial(shader);

    /// <summary>The material to draw the objects with.</summary>
    public Material Material => _material;

    /// <summary>Where to draw them, for a camera's view.</summary>
    /// <param name="camera">the camera</param>
    /// <param name="size">of the mask</param>
    /// <param name="depth">the camera's depth; null is the global depth texture</param>
    public RenderTexture Prepare(Camera camera, WorkingSize size, Texture depth)
    {
        if (_mask == null || _mask.width != size.Width || _mask.height != size.Height) AllocateMask(size);

        // As cameras see render textures: upside down on Direct3D-like APIs.
        _viewProjection = GL.GetGPUProjectionMatrix(camera.projectionMatrix, true) * camera.worldToCameraMatrix;
        _eyeDepth = EyeDepth.Of(camera);
        _material.SetMatrix(ViewProjectionId, _viewProjection);
        _material.SetVector(EyeDepthId, _eyeDepth);
        _material.SetVector(MaskSizeId, new Vector4(size.Width, size.Height, 0, 0));
        if (depth != null) _material.SetTexture(DepthId, depth);
        return _mask;
    }

    /// <summary>Draws the mask at once, by a second camera with a replacement shader.</summary>
    /// <param name="camera">whose view to draw; its depth texture must be there</param>
    /// <param name="layers">the objects' layers</param>
    /// <param name="size">of the mask</param>
    public RenderTexture Draw(Camera camera, LayerMask layers, WorkingSize size)
    {
        if (_eye == null) AllocateEye();
        var mask = Prepare(camera, size, null);

        // A replacement shader does not use our material.
        Shader.SetGlobalMatrix(ViewProjectionId, _viewProjection);
        Shader.SetGlobalVector(EyeDepthId, _eyeDepth);
        Shader.SetGlobalVector(MaskSizeId, new Vector4(size.Width, size.Height, 0, 0));

        _eye.CopyFrom(camera);
        _eye.cullingMask = camera.cullingMask & layers;
        _eye.clearFlags = CameraClearFlags.SolidColor;
        _eye.backgroundColor = Color.clear;
        _eye.rect = new Rect(0, 0, 1, 1);
        _eye.targetTexture = mask;
        _eye.renderingPath = RenderingPath.Forward;
        _eye.depthTextureMode = DepthTextureMode.None;
        _eye.allowMSAA = false;
        _eye.allowHDR = false;

        using (Markers.Mask.Auto())
        {
            var active = RenderTexture.active;
            _eye.RenderWithShader(_material.shader, "");
            RenderTexture.active = active;
            return mask;
        }
    }

    /// <summary>Frees the camera, the texture and the material.</summary>
    public void Dispose() => ReleaseObjects();

    #endregion

    #region Private members

    const int DepthBits = 24;

    static readonly int DepthId = Shader.PropertyToID("_CameraDepthTexture");
    static readonly int ViewProjectionId = Shader.PropertyToID("_StyleViewProjection");
    static readonly int EyeDepthId = Shader.PropertyToID("_StyleEyeDepth");
    static readonly int MaskSizeId = Shader.PropertyToID("_StyleMaskSize");

    Material _material;
    RenderTexture _mask;
    Camera _eye;
    Matrix4x4 _viewProjection;
    Vector4 _eyeDepth;

    void AllocateMaterial(Shader shader)
      => _material = Textures.AllocateMaterial(shader, ShaderName, "Mask Shader");

    void AllocateMask(WorkingSize size)
    {
        Textures.Release(_mask);
        _mask = Textures.AllocateTarget(size.Width, size.Height, RenderTextureFormat.ARGB32, false, DepthBits);
    }

    void AllocateEye()
    {
        var holder = new GameObject("Style Transfer Mask");
        holder.hideFlags = HideFlags.HideAndDontSave;
        _eye = holder.AddComponent<Camera>();
        _eye.enabled = false;
    }

    void ReleaseObjects()
    {
        if (_eye != null) Textures.Release(_eye.gameObject);
        _eye = null;
        Textures.Release(_mask);
        _mask = null;
        Textures.Release(_material);
        _material = null;
    }

    #endregion
}

}
