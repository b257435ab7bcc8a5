using System;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// Draws a network's guides on its textures: the material of StyleTransferGuides.shader.
/// </summary>
sealed class GuidePainter : IDisposable
{
    #region Public members

    /// <summary>The name of the shader that is looked up if none is given.</summary>
    public const string ShaderName = "Hidden/StyleTransfer/Guides";

    /// <summary>Creates a painter of guides.</summary>
    /// <param name="shader">the shader; null looks it up by its name</param>
    /// <exception cref="InvalidOperationException">the shader is missing</exception>
    public GuidePainter(Shader shader) => AllocateMaterial(shader);

    /// <summary>Copies of a camera's depth and packed normals, for <see cref="GuideSource.Copies"/>.</summary>
    public void SetCopies(Texture depth, Texture normals)
    {
        _material.SetTexture(DepthCopyId, depth);
        _material.SetTexture(NormalsCopyId, normals);
    }

    /// <summary>Draws the guides of a frame.</summary>
    /// <param name="painter">draws the passes; has the camera's picture</param>
    /// <param name="runner">the runner whose network takes the guides, prepared for a size</param>
    /// <param name="settings">the guide mask, guide texture and depth distance</param>
    /// <param name="camera">the camera with the depth and normals</param>
    /// <param name="source">where the depth and normals come from</param>
    /// <param name="width">of the camera's picture</param>
    /// <param name="height">of the camera's picture</param>
    /// <exception cref="InvalidOperationException">the render pipeline has no normals</exception>
    public void Draw(in Painter painter, StyleTransferRunner runner, StyleTransferSettings settings, Camera camera,
                     GuideSource source, int width, int height)
    {
        var layout = runner.Model.GuideLayout;
        if (source == GuideSource.DepthOnly && layout.Has(GuideLayout.Normals)) ReportNoNormals(runner.Model);

        var far = camera.farClipPlane;
        var distance = settings.DepthDistance > 0 ? settings.DepthDistance : far;
        _material.SetFloat(NormalsSourceId, source == GuideSource.Copies ? PackedNormals
          : source == GuideSource.BuiltIn ? ViewNormals : WorldNormals);
        _material.SetFloat(DepthSourceId, source == GuideSource.Copies ? 1 : 0);
        _material.SetVector(EyeDepthId, EyeDepth.Of(camera));
        _material.SetVector(DepthDistanceId, new Vector4(distance, far, 0, 0));
        _material.SetMatrix(WorldToViewId, camera.worldToCameraMatrix);
        _material.SetVector(TapOffsetId, PictureConverter.TapOffsets(width, height, runner.Size));
        _material.SetTexture(MaskId, settings.GuideMask);
        _material.SetTexture(TextureId, settings.GuideTexture);

        for (var i = 0; i < layout.TextureCount; i++)
        {
            _material.SetMatrix(i == 0 ? SceneToFirstId : SceneToSecondId, layout.SceneRows(i));
            _material.SetMatrix(i == 0 ? OthersToFirstId : OthersToSecondId, layout.OtherRows(i));
            painter.DrawCamera(runner.GuideInput(i), _material, i);
        }
    }

    /// <summary>Frees the material.</summary>
    public void Dispose() => ReleaseMaterial();

    #endregion

    #region Private members

    static readonly int DepthCopyId = Shader.PropertyToID("_DepthCopy");
    static readonly int NormalsCopyId = Shader.PropertyToID("_NormalsCopy");
    static readonly int NormalsSourceId = Shader.PropertyToID("_NormalsSource");
    static readonly int DepthSourceId = Shader.PropertyToID("_DepthSource");
    static readonly int EyeDepthId = Shader.PropertyToID("_EyeDepth");
    static readonly int DepthDistanceId = Shader.PropertyToID("_DepthDistance");
    static readonly int WorldToViewId = Shader.PropertyToID("_WorldToView");
    static readonly int TapOffsetId = Shader.PropertyToID("_TapOffset");
    static readonly int MaskId = Shader.PropertyToID("_GuideMask");
    static readonly int TextureId = Shader.PropertyToID("_GuideTexture");
    static readonly int SceneToFirstId = Shader.PropertyToID("_SceneToFirst");
    static readonly int OthersToFirstId = Shader.PropertyToID("_OthersToFirst");
    static readonly int SceneToSecondId = Shader.PropertyToID("_SceneToSecond");
    static readonly int OthersToSecondId = Shader.PropertyToID("_OthersToSecond");

    // Values of the shader's _NormalsSource.
    const float ViewNormals = 0;
    const float WorldNormals = 1;
    const float PackedNormals = 2;

    Material _material;

    static void ReportNoNormals(StyleTransferModel model)
    {
        throw new InvalidOperationException("Style transfer model '" + model.DisplayName + "' takes the camera's normals, " +
          "which URP provides from version 12 (Unity 2021.2) on. Update URP, or use a network without normals.");
    }

    void AllocateMaterial(Shader shader)
      => _material = Textures.AllocateMaterial(shader, ShaderName, "Guides Shader");

    void ReleaseMaterial()
    {
        Textures.Release(_material);
        _material = null;
    }

    #endregion
}

}
