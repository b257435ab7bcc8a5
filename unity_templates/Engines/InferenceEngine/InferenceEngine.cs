using System;
using System.IO;
using UnityEngine;
using UnityEngine.Rendering;
using UnityEngine.Scripting;
#if STYLETRANSFER_SENTIS
using Unity.Sentis;
#else
using Unity.InferenceEngine;
#endif

// Nothing refers to this assembly: without this, a player might be built without it.
[assembly: AlwaysLinkAssembly]

namespace StyleTransfer.Inference
{

/// <summary>
/// Runs networks with com.unity.ai.inference 2.2 and later, or com.unity.sentis 2.1, which is the same under its old
/// name.
/// </summary>
[Preserve]
public sealed class InferenceEngine : StyleTransferEngine
{
    #region StyleTransferEngine implementation

    /// <summary>The name of the package for people.</summary>
    public override string Name => PackageName;

    /// <summary>The pipeline's target for the installed version.</summary>
    public override string Target => PackageTarget;

    /// <summary>The installed version.</summary>
    public override string Version => PackageVersion;

    /// <summary>The worker to use on this machine.</summary>
    public override StyleTransferWorker Choose(StyleTransferWorker requested, out string note)
      => Choose(requested, SystemInfo.supportsComputeShaders, SystemInfo.graphicsDeviceType != GraphicsDeviceType.Null,
                out note);

    /// <summary>The CPU.</summary>
    public override StyleTransferWorker[] ProofWorkers => new[] { StyleTransferWorker.CSharpBurst };

    /// <summary>Whether this is what the package's importer makes of an .onnx or .sentis file.</summary>
    public override bool CanLoad(UnityEngine.Object imported) => imported is ModelAsset;

    /// <summary>Whether the packed file is a .sentis file, which can be loaded while the game runs.</summary>
    public override bool CanLoadFile(string target)
      => target.StartsWith(InferencePrefix, StringComparison.Ordinal) ||
         target.StartsWith(SentisPrefix, StringComparison.Ordinal);

    /// <summary>Loads an imported network.</summary>
    public override StyleTransferNetwork Load(StyleTransferModel model, StyleTransferWorker worker)
      => Make(model, ModelLoader.Load((ModelAsset)model.Model), worker);

    /// <summary>Loads a .sentis file.</summary>
    public override StyleTransferNetwork LoadFile(StyleTransferModel model, byte[] file, StyleTransferWorker worker)
    {
        using (var stream = new MemoryStream(file))
            return Make(model, ModelLoader.Load(stream), worker);
    }

    #endregion

    #region Public methods

    /// <summary>The worker to use on a machine with the given capabilities.</summary>
    /// <param name="requested">the worker that the user selected</param>
    /// <param name="compute">compute shaders exist</param>
    /// <param name="graphics">there is a graphics device at all (not so with -nographics)</param>
    /// <param name="note">null if that worker is used; otherwise one sentence that says which one is used and why</param>
    public static StyleTransferWorker Choose
      (StyleTransferWorker requested, bool compute, bool graphics, out string note)
    {
        note = null;
        if (requested == StyleTransferWorker.CSharpBurst) return requested;
        if (requested == StyleTransferWorker.CSharp)
        {
            note = PackageName + " has only one CPU worker, which is used (CSharpBurst).";
            return StyleTransferWorker.CSharpBurst;
        }

        if (compute)
        {
            // Where there are compute shaders, the package converts pictures with them, and a GPUPixel worker then
            // downloads the tensor and uploads it again in each run (TextureTensorData.Pin).
            if (requested == StyleTransferWorker.PixelShader)
                note = "On machines with compute shaders, " + PackageName + " transfers pictures for its pixel " +
                  "shaders through the CPU; the network runs as compute shaders instead (Compute worker).";
            if (requested == StyleTransferWorker.ComputePrecompiled)
                note = PackageName + " has only one compute shader worker, which is used (Compute).";
            return StyleTransferWorker.Compute;
        }

        if (graphics)
        {
            if (requested != StyleTransferWorker.PixelShader)
                note = "Compute shaders cannot be used on this machine; the network runs as pixel shaders " +
                  "(PixelShader worker), which is slower.";
            return StyleTransferWorker.PixelShader;
        }

        note = "There is no graphics device; the network runs on the CPU (CSharpBurst worker), which is too slow for " +
          "real time with most networks.";
        return StyleTransferWorker.CSharpBurst;
    }

    /// <summary>The package's own name of a worker.</summary>
    public static BackendType BackendOf(StyleTransferWorker worker)
    {
        switch (worker)
        {
            case StyleTransferWorker.PixelShader: return BackendType.GPUPixel;
            case StyleTransferWorker.CSharpBurst: return BackendType.CPU;
            default: return BackendType.GPUCompute;
        }
    }

    #endregion

    #region Private members

    // Layers that expand packed weights, which no version's GPUPixel worker has (GPUPixel.cs:332 of 2.4.0).
    static readonly string[] s_Expanding = { "DequantizeUint8", "Cast" };

    static StyleTransferNetwork Make(StyleTransferModel asset, Model network, StyleTransferWorker worker)
    {
        var backend = BackendOf(worker);
        if (backend == BackendType.GPUPixel && Expands(network))
        {
            Debug.LogWarning("Style Transfer: the weights of '" + asset.DisplayName + "' are packed, which the pixel " +
              "shaders of " + PackageName + " do not support, so it runs on the CPU. Build it with --weights float.",
              asset);
            backend = BackendType.CPU;
        }
        return new InferenceNetwork(asset, network, backend);
    }

    static bool Expands(Model network)
    {
        foreach (var layer in network.layers)
            if (Array.IndexOf(s_Expanding, layer.GetType().Name) >= 0) return true;
        return false;
    }

    const string InferencePrefix = "inference-";
    const string SentisPrefix = "sentis-";

#if STYLETRANSFER_SENTIS
    const string PackageName = "Sentis";
    const string PackageTarget = "sentis-2.1";
    const string PackageVersion = "2.1";
#else
    const string PackageName = "Inference Engine";
    const string PackageTarget = "inference-2";
    const string PackageVersion = "2.2 or newer";
#endif

    [Preserve]
    [RuntimeInitializeOnLoadMethod(RuntimeInitializeLoadType.AfterAssembliesLoaded)]
#if UNITY_EDITOR
    [UnityEditor.InitializeOnLoadMethod]
#endif
    static void Register() => StyleTransferEngines.Register(new InferenceEngine());

    #endregion
}

}
