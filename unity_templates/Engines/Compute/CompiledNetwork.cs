using UnityEngine;

namespace StyleTransfer.Compute
{

/// <summary>
/// A compiled network as a Unity asset: its kernels, and the plan that says how they run and with which weights.
/// Written by the pipeline; do not edit it by hand.
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
