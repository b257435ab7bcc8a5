using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// Which of the styles of one network are shown, and how much of each: one style, or a blend of two.
/// </summary>
public struct StyleMix
{
    #region Public members

    /// <summary>The style's number, from 0.</summary>
    public int Style;

    /// <summary>The number of the style that is blended in.</summary>
    public int SecondStyle;

    /// <summary>How much of the second one: 0 is <see cref="Style"/> alone, 1 is <see cref="SecondStyle"/> alone.
    /// </summary>
    public float Blend;

    /// <summary>A blend of two styles.</summary>
    /// <param name="style">the first, from 0</param>
    /// <param name="secondStyle">the second, from 0</param>
    /// <param name="blend">0 to 1</param>
    public StyleMix(int style, int secondStyle, float blend)
    {
        Style = style;
        SecondStyle = secondStyle;
        Blend = blend;
    }

    #endregion

    #region For networks

    /// <summary>Writes a weight for each style; numbers beyond the last style stand for the last.</summary>
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
