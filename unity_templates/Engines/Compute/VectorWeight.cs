namespace StyleTransfer.Compute
{

/// <summary>
/// A weight of a plan that depends on a style vector: a linear function of its numbers. Uses nothing of Unity.
/// </summary>
public sealed class VectorWeight
{
    #region Public members

    /// <summary>Adds coefficient * vector[index] to each number of a weight.</summary>
    public struct Term
    {
        /// <summary>For each number of the weight, an index into the style vector.</summary>
        public int[] Indices;
        /// <summary>The coefficients; null if all are 1.</summary>
        public float[] Coefficients;
    }

    /// <summary>A weight and its terms.</summary>
    /// <param name="weight">index into <see cref="ComputePlan.Weights"/></param>
    /// <param name="constant">the numbers of the weight for a style vector of zeros</param>
    /// <param name="terms">what a style vector adds to them</param>
    public VectorWeight(int weight, float[] constant, Term[] terms)
    {
        _weight = weight;
        _constant = constant;
        _terms = terms;
    }

    /// <summary>Index into <see cref="ComputePlan.Weights"/>.</summary>
    public int Weight => _weight;

    /// <summary>Computes the numbers of the weight for a style vector.</summary>
    /// <param name="vector"><see cref="ComputePlan.StyleLength"/> numbers</param>
    /// <param name="numbers">at least as long as the weight</param>
    public void Apply(float[] vector, float[] numbers)
    {
        for (var i = 0; i < _constant.Length; i++) numbers[i] = _constant[i];
        foreach (var term in _terms)
        {
            int[] indices = term.Indices;
            float[] coefficients = term.Coefficients;
            if (coefficients == null)
                for (var i = 0; i < indices.Length; i++) numbers[i] += vector[indices[i]];
            else
                for (var i = 0; i < indices.Length; i++) numbers[i] += coefficients[i] * vector[indices[i]];
        }
    }

    #endregion

    #region Private members

    readonly int _weight;
    readonly float[] _constant;
    readonly Term[] _terms;

    #endregion
}

}
