using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// The style of a network with several styles: one style, or a blend of two. Each is a number of a style of the asset, or,
/// for a network with a predictor, a picture or a vector.
/// </summary>
public struct StyleMix
{
    #region Public members

    /// <summary>The style's number, from 0.</summary>
    public int Style;

    /// <summary>The number of the style that is blended in.</summary>
    public int SecondStyle;

    /// <summary>The blend: 0 is only <see cref="Style"/>, 1 is only <see cref="SecondStyle"/>.
    /// </summary>
    public float Blend;

    /// <summary>A picture to use as the style instead of <see cref="Style"/>; may be null.</summary>
    public Texture Picture;

    /// <summary>A picture to use instead of <see cref="SecondStyle"/>; may be null.</summary>
    public Texture SecondPicture;

    /// <summary>A vector for the predictor, to use as the style instead of <see cref="Style"/>; may be null.</summary>
    public float[] Vector;

    /// <summary>A vector to use instead of <see cref="SecondStyle"/>; may be null.</summary>
    public float[] SecondVector;

    /// <summary>A blend of two styles of the asset.</summary>
    /// <param name="style">the first, from 0</param>
    /// <param name="secondStyle">the second, from 0</param>
    /// <param name="blend">0 to 1</param>
    public StyleMix(int style, int secondStyle, float blend)
    {
        Style = style;
        SecondStyle = secondStyle;
        Blend = blend;
        Picture = SecondPicture = null;
        Vector = SecondVector = null;
    }

    #endregion

    #region For networks

    /// <summary>Computes a weight for each style; numbers beyond the last style mean the last.</summary>
    /// <param name="weights">as many as the network has styles</param>
    /// <returns>whether any of them changed</returns>
    internal bool Write(float[] weights)
    {
        var last = weights.Length - 1;
        int first = Mathf.Clamp(Style, 0, last), second = Mathf.Clamp(SecondStyle, 0, last);
        var blend = Mathf.Clamp01(Blend);
        var changed = false;
        for (var i = 0; i < weights.Length; i++)
        {
            var weight = (i == first ? 1 - blend : 0) + (i == second ? blend : 0);
            changed |= weight != weights[i];
            weights[i] = weight;
        }
        return changed;
    }

    #endregion
}

}
