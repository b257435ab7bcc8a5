using System;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// The material of StyleTransferConvert.shader: between a camera's picture and a network's.
/// </summary>
sealed class PictureConverter : IDisposable
{
    #region Public members

    /// <summary>The name of the shader that is looked up if none is given.</summary>
    public const string ShaderName = "Hidden/StyleTransfer/Convert";

    /// <summary>The pass from the camera's picture to the network's.</summary>
    public const int PassToNetwork = 0;

    /// <summary>The pass that blends the network's picture over the camera's.</summary>
    public const int PassFromNetwork = 1;

    /// <summary>The pass that joins the pictures of a style network and of a mask network.</summary>
    public const int PassJoin = 2;

    /// <summary>Creates a converter.</summary>
    /// <param name="shader">the shader; null looks it up by its name</param>
    /// <exception cref="InvalidOperationException">the shader is missing</exception>
    public PictureConverter(Shader shader) => AllocateMaterial(shader);

    /// <summary>The material to draw with.</summary>
    public Material Material => _material;

    /// <summary>Prepares <see cref="PassToNetwork"/>.</summary>
    /// <param name="sourceWidth">of the camera's picture, in pixels</param>
    /// <param name="sourceHeight">of the camera's picture, in pixels</param>
    /// <param name="size">of the network's picture</param>
    /// <param name="isGrey">the network sees the mean of red, green and blue</param>
    public void SetToNetwork(int sourceWidth, int sourceHeight, WorkingSize size, bool isGrey)
    {
        SetColorSpace();
        _material.SetFloat(GreyId, isGrey ? 1 : 0);
        _material.SetVector(TapOffsetId, TapOffsets(sourceWidth, sourceHeight, size));
    }

    /// <summary>How far the four taps of a reduction are from a pixel's middle, in texture coordinates (x, y).</summary>
    public static Vector4 TapOffsets(int sourceWidth, int sourceHeight, WorkingSize size)
      => new Vector4(TapOffset(sourceWidth, size.Width), TapOffset(sourceHeight, size.Height), 0, 0);

    /// <summary>Prepares <see cref="PassFromNetwork"/>.</summary>
    /// <param name="stylized">the network's picture</param>
    /// <param name="strength">0 is the camera's picture, 1 the network's</param>
    /// <param name="keepColors">0 is the style's colours, 1 the camera's own in the style's brightness</param>
    /// <param name="mask">where to show the network's picture; null is everywhere</param>
    /// <param name="isJoined">the picture's alpha is a mask too: see <see cref="PassJoin"/></param>
    public void SetFromNetwork(Texture stylized, float strength, float keepColors, Texture mask, bool isJoined)
    {
        SetColorSpace();
        _material.SetFloat(KeepColorsId, Mathf.Clamp01(keepColors));
        _material.SetFloat(NetworkMaskedId, isJoined ? 1 : 0);
        _material.SetTexture(StylizedId, stylized);
        _material.SetTexture(MaskId, mask);
        _material.SetFloat(MaskedId, mask != null ? 1 : 0);
        _material.SetFloat(StrengthId, Mathf.Clamp01(strength));
    }

    /// <summary>Prepares <see cref="PassJoin"/>.</summary>
    /// <param name="mask">the picture of a network that gives a mask</param>
    /// <param name="isInverted">the style is to be shown where that mask is 0</param>
    public void SetJoin(Texture mask, bool isInverted)
    {
        _material.SetTexture(NetworkMaskId, mask);
        _material.SetFloat(InvertMaskId, isInverted ? 1 : 0);
    }

    /// <summary>Frees the material.</summary>
    public void Dispose() => ReleaseMaterial();

    #endregion

    #region Private members

    static readonly int StylizedId = Shader.PropertyToID("_Stylized");
    static readonly int MaskId = Shader.PropertyToID("_Mask");
    static readonly int MaskedId = Shader.PropertyToID("_Masked");
    static readonly int StrengthId = Shader.PropertyToID("_Strength");
    static readonly int KeepColorsId = Shader.PropertyToID("_KeepColors");
    static readonly int NetworkMaskId = Shader.PropertyToID("_NetworkMask");
    static readonly int NetworkMaskedId = Shader.PropertyToID("_NetworkMasked");
    static readonly int InvertMaskId = Shader.PropertyToID("_InvertMask");
    static readonly int TapOffsetId = Shader.PropertyToID("_TapOffset");
    static readonly int GreyId = Shader.PropertyToID("_Grey");
    static readonly int LinearProjectId = Shader.PropertyToID("_LinearProject");

    // Four bilinear taps at a quarter of the new pixel around its middle: an exact box filter for a reduction
    // by two and by four. Without a reduction they meet in the middle.
    const float QuarterPixel = 0.25f;

    Material _material;

    void AllocateMaterial(Shader shader)
      => _material = Textures.AllocateMaterial(shader, ShaderName, "Convert Shader");

    void ReleaseMaterial()
    {
        Textures.Release(_material);
        _material = null;
    }

    // The network sees and gives sRGB values; engines convert nothing.
    void SetColorSpace()
      => _material.SetFloat(LinearProjectId, QualitySettings.activeColorSpace == ColorSpace.Linear ? 1 : 0);

    static float TapOffset(int sourceExtent, int extent)
      => QuarterPixel * Mathf.Clamp01((float)sourceExtent / extent - 1) / extent;

    #endregion
}

}
