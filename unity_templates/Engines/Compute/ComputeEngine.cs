using System;
using UnityEngine;
using UnityEngine.Rendering;
using UnityEngine.Scripting;

// Nothing refers to this assembly: without this, a player might be built without it.
[assembly: AlwaysLinkAssembly]

namespace StyleTransfer.Compute
{

/// <summary>
/// Runs networks that the pipeline compiled into compute shaders. It needs no package.
/// </summary>
[Preserve]
public sealed class ComputeEngine : StyleTransferEngine
{
    #region StyleTransferEngine implementation

    /// <summary>The name of the engine for people.</summary>
    public override string Name => "Compute";

    /// <summary>The target of the pipeline.</summary>
    public override string Target => TargetName;

    /// <summary>The version of the files that it reads.</summary>
    public override string Version => "1";

    /// <summary>It is part of the bundle.</summary>
    public override bool IsPackage => false;

    /// <summary>Always compute shaders.</summary>
    public override StyleTransferWorker Choose(StyleTransferWorker requested, out string note)
    {
        note = requested == StyleTransferWorker.Auto || requested == StyleTransferWorker.Compute ||
          requested == StyleTransferWorker.ComputePrecompiled
          ? null : "A network that was built with --target compute runs only on compute shaders.";
        return StyleTransferWorker.Compute;
    }

    /// <summary>Compute shaders are the only worker.</summary>
    public override StyleTransferWorker[] ProofWorkers => new[] { StyleTransferWorker.Compute };

    /// <summary>Whether this is a compiled network.</summary>
    public override bool CanLoad(UnityEngine.Object imported) => imported is CompiledNetwork;

    /// <summary>Reads the plan.</summary>
    /// <exception cref="InvalidOperationException">this machine has no compute shaders, or the files are damaged or
    /// from different builds; the message says what to do</exception>
    public override StyleTransferNetwork Load(StyleTransferModel model, StyleTransferWorker worker)
    {
        var missing = FindMissing();
        if (missing != null)
            throw new InvalidOperationException("Style transfer model '" + model.DisplayName + "': " + missing);

        var network = (CompiledNetwork)model.Model;
        if (network.Kernels == null || network.Plan == null)
            throw new InvalidOperationException("Style transfer model '" + model.DisplayName + "': its compiled network has " +
              "lost its " + (network.Kernels == null ? ".compute" : ".bytes") + " file. Check that it is next to " +
              "the asset and was imported without errors.");

        var file = network.Plan.bytes;
        if (IsPacked(file)) file = PackedModel.Unpack(file);
        return new ComputeNetwork(ComputePlan.Read(file), network.Kernels);
    }

    #endregion

    #region Private members

    const string TargetName = "compute";

    static string FindMissing()
    {
        // OpenGL ES 3.1 guarantees four storage buffers per kernel, and these use up to seven.
        if (SystemInfo.supportsComputeShaders && SystemInfo.graphicsDeviceType != GraphicsDeviceType.OpenGLES3)
            return null;

        return "it needs compute shaders with seven storage buffers, which " + SystemInfo.graphicsDeviceType +
          " does not offer here. Use Vulkan, Metal or Direct3D, or build the network for a package with pixel shaders " +
          "(--target barracuda-3.0 or inference-2), which WebGL requires.";
    }

    // The first bytes of a packed file are STPK.
    static bool IsPacked(byte[] file)
      => file.Length > 4 && file[0] == 'S' && file[1] == 'T' && file[2] == 'P' && file[3] == 'K';

    [Preserve]
    [RuntimeInitializeOnLoadMethod(RuntimeInitializeLoadType.AfterAssembliesLoaded)]
#if UNITY_EDITOR
    [UnityEditor.InitializeOnLoadMethod]
#endif
    static void Register() => StyleTransferEngines.Register(new ComputeEngine());

    #endregion
}

}
