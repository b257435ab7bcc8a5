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

    /// <summary>The camera's strength is multiplied by this; blended between volumes.</summary>
    [Tooltip("The camera's strength is multiplied by this. Blended between volumes.")]
    public ClampedFloatParameter strength = new ClampedFloatParameter(1, 0, 1);

    /// <summary>The share of the camera's own colours; blended between volumes.</summary>
    [Tooltip("Share of the camera's own colours, combined with the camera's setting. Blended between volumes.")]
    public ClampedFloatParameter keepColors = new ClampedFloatParameter(0, 0, 1);

    /// <summary>The style to show; none leaves the camera's own.</summary>
    [Tooltip("The style to show. None keeps the camera's own.")]
    public StyleParameter style = new StyleParameter(null);

    /// <summary>Which style, of a network that has several; -1 leaves the camera's own.</summary>
    [Tooltip("Number of the style, for a network with several styles; -1 keeps the camera's styles and blend.")]
    public NoInterpIntParameter styleNumber = new NoInterpIntParameter(CamerasOwn);

    /// <summary>Another style of the same network, to blend in.</summary>
    [Tooltip("Number of a second style of the same network, to blend in.")]
    public NoInterpIntParameter secondStyle = new NoInterpIntParameter(0);

    /// <summary>Blend of these two styles; blended between volumes.</summary>
    [Tooltip("Blend of these two styles: 0 is the first, 1 the second. Blended between volumes.")]
    public ClampedFloatParameter styleBlend = new ClampedFloatParameter(0, 0, 1);

    /// <summary>A picture as the style, of a network that takes such; none leaves the number above.</summary>
    [Tooltip("A picture as the style, of a network that takes such; none leaves Style Number.")]
    public TextureParameter stylePicture = new TextureParameter(null);

    /// <summary>Another picture, to blend in.</summary>
    [Tooltip("Another picture, to blend in; none leaves Second Style.")]
    public TextureParameter secondStylePicture = new TextureParameter(null);

    /// <summary>Of the layers that the camera stylises, only these.</summary>
    [Tooltip("Limits the camera's Stylized Layers to these.")]
    public LayerMaskParameter layers = new LayerMaskParameter(EveryLayer);

    #endregion

    #region Public methods

    /// <summary>Gives a camera's component what the volumes around the camera say.</summary>
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
/// A style among the parameters of a volume.
/// </summary>
[Serializable]
public sealed class StyleParameter : VolumeParameter<StyleTransferModel>
{
    /// <summary>A parameter.</summary>
    /// <param name="value">the style; null for none</param>
    /// <param name="overrideState">whether it counts</param>
    public StyleParameter(StyleTransferModel value, bool overrideState = false) : base(value, overrideState) {}
}

}
