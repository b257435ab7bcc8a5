using UnityEngine;

namespace StyleTransfer.Compute
{

/// <summary>
/// A compiled network as Unity holds it: its kernels, and the plan of how they run with which weights.
/// Written by the pipeline; not to be edited by hand.
/// </summary>
public sealed class CompiledNetwork : ScriptableObject
{
    #region Serialised fields

    [SerializeField, Tooltip("The kernels.")]
    ComputeShader kernels = null;

    [SerializeField, Tooltip("The plan and the weights, which may be packed.")]
    TextAsset plan = null;

    #endregion

    #region Public properties

    /// <summary>The kernels.</summary>
    public ComputeShader Kernels => kernels;

    /// <summary>The file of the plan, as <see cref="ComputePlan.Read"/> or first PackedModel.Unpack takes it.</summary>
    public TextAsset Plan => plan;

    #endregion
}

}
