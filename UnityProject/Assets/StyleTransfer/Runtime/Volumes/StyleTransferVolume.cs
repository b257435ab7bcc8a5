using System;
using UnityEngine;
using UnityEngine.Rendering;

namespace StyleTransfer.Volumes
{

/// <summary>
/// Settings of a URP or HDRP Volume for the style of the cameras inside it. Cameras need a
/// <see cref="StyleTransferCamera"/>, whose own values are used unless a volume overrides them.
/// </summary>
/// <remarks>
/// For a style in one area only: a global volume with strength 0, and a local one with strength 1.
/// </remarks>
[Serializable, VolumeComponentMenu("Style Transfer")]
public sealed class StyleTransferVolume : VolumeComponent
{
    #region Editable attributes

    /// <summary>Factor for the camera's strength, 0 to 1. Blended between volumes.</summary>
    [Tooltip("Factor for the camera's strength. Blended between volumes.")]
    public ClampedFloatParameter strength = new ClampedFloatParameter(1, 0, 1);

    /// <summary>Share of the camera's own colours, combined with the camera's setting. Blended between volumes.
    /// </summary>
    [Tooltip("Share of the camera's own colours, combined with the camera's setting. Blended between volumes.")]
    public ClampedFloatParameter keepColors = new ClampedFloatParameter(0, 0, 1);

    /// <summary>The style to show; null keeps the camera's own.</summary>
    [Tooltip("The style to show. None keeps the camera's own.")]
    public StyleParameter style = new StyleParameter(null);

    /// <summary>Number of the style, for a network with several styles; -1 keeps the camera's styles and blend.</summary>
    [Tooltip("Number of the style, for a network with several styles; -1 keeps the camera's styles and blend.")]
    public NoInterpIntParameter styleNumber = new NoInterpIntParameter(CamerasOwn);

    /// <summary>Number of a second style of the same network, to blend in.</summary>
    [Tooltip("Number of a second style of the same network, to blend in.")]
    public NoInterpIntParameter secondStyle = new NoInterpIntParameter(0);

    /// <summary>Blend of these two styles: 0 is the first, 1 the second. Blended between volumes.</summary>
    [Tooltip("Blend of these two styles: 0 is the first, 1 the second. Blended between volumes.")]
    public ClampedFloatParameter styleBlend = new ClampedFloatParameter(0, 0, 1);

    /// <summary>A picture to use as the style instead of <see cref="styleNumber"/>, for networks built with
    /// --style-input; may be null.</summary>
    [Tooltip("A picture to use as the style instead of Style Number, for networks built with --style-input.")]
    public TextureParameter stylePicture = new TextureParameter(null);

    /// <summary>A picture to use as the second style instead of <see cref="secondStyle"/>; may be null.</summary>
    [Tooltip("A picture to use as the second style instead of Second Style.")]
    public TextureParameter secondStylePicture = new TextureParameter(null);

    /// <summary>Limits the camera's stylised layers to these.</summary>
    [Tooltip("Limits the camera's Stylized Layers to these.")]
    public LayerMaskParameter layers = new LayerMaskParameter(EveryLayer);

    #endregion

    #region Public methods

    /// <summary>Applies the blended values of the volumes to a camera's component.</summary>
    /// <param name="stack">the blended volumes of that camera</param>
    /// <param name="component">the camera's component</param>
    public static void Apply(VolumeStack stack, StyleTransferCamera component)
    {
        var volume = stack != null ? stack.GetComponent<StyleTransferVolume>() : null;
        if (volume == null) component.SetOverrides(1, null, EveryLayer, 0);
        else component.SetOverrides(volume.strength.value, volume.style.value, volume.layers.value, volume.keepColors.value);
        component.SetStyleOverride(volume == null ? StyleTransferSettings.NoMix
          : new StyleMix(volume.styleNumber.value, volume.secondStyle.value, volume.styleBlend.value)
            {
                Picture = volume.stylePicture.value, SecondPicture = volume.secondStylePicture.value
            });
    }

    #endregion

    #region Private members

    const int EveryLayer = -1;
    const int CamerasOwn = -1;

    #endregion
}

/// <summary>
/// A volume parameter that refers to a style.
/// </summary>
[Serializable]
public sealed class StyleParameter : VolumeParameter<StyleTransferModel>
{
    /// <summary>Creates a parameter.</summary>
    /// <param name="value">the style; null for none</param>
    /// <param name="overrideState">whether the volume overrides the camera's style</param>
    public StyleParameter(StyleTransferModel value, bool overrideState = false) : base(value, overrideState) {}
}

}
