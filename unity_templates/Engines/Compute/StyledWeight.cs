using System;

namespace StyleTransfer.Compute
{

/// <summary>
/// A weight of a plan whose numbers depend on the style: those of each style, to be mixed. Uses nothing of Unity.
/// </summary>
public sealed class StyledWeight
{
    #region Public members

    /// <summary>The numbers of a weight for each style.</summary>
    /// <param name="weight">which of <see cref="ComputePlan.Weights"/></param>
    /// <param name="data">for each style as many numbers as that weight has</param>
    public StyledWeight(int weight, float[][] data)
    {
        _weight = weight;
        _data = data;
    }

    /// <summary>Which of <see cref="ComputePlan.Weights"/>.</summary>
    public int Weight => _weight;

    /// <summary>The numbers of a mix of styles.</summary>
    /// <param name="weights">one for each style</param>
    /// <param name="mixed">as long as the weight's numbers, or longer</param>
    public void Mix(float[] weights, float[] mixed)
    {
        Array.Clear(mixed, 0, _data[0].Length);
        for (var style = 0; style < _data.Length; style++)
        {
            var share = weights[style];
            if (share == 0) continue;

            var numbers = _data[style];
            for (var i = 0; i < numbers.Length; i++) mixed[i] += share * numbers[i];
        }
    }

    #endregion

    #region Private members

    readonly int _weight;
    readonly float[][] _data;

    #endregion
}

}
