using Unity.Barracuda;
using UnityEngine;
using UnityEngine.Scripting;

// Nothing refers to this assembly: without this, a player might be built without it.
[assembly: AlwaysLinkAssembly]

namespace StyleTransfer.Barracuda
{

/// <summary>
/// Runs networks with com.unity.barracuda.
/// </summary>
[Preserve]
public sealed class BarracudaEngine : StyleTransferEngine
{
    #region StyleTransferEngine implementation

    /// <summary>The name of the package for people.</summary>
    public override string Name => "Barracuda";

    /// <summary>The pipeline's target for the installed version.</summary>
    public override string Target => InstalledTarget;

    /// <summary>The installed version.</summary>
    public override string Version => InstalledVersion;

    /// <summary>The worker to use on this machine.</summary>
    public override StyleTransferWorker Choose(StyleTransferWorker requested, out string note)
      => BarracudaWorkers.Choose(requested, out note);

    /// <summary>The CPU workers, of which the first needs Burst.</summary>
    public override StyleTransferWorker[] ProofWorkers
      => new[] { StyleTransferWorker.CSharpBurst, StyleTransferWorker.CSharp };

    /// <summary>Whether this is what Barracuda's importer makes of an .onnx file.</summary>
    public override bool CanLoad(Object imported) => imported is NNModel;

    /// <summary>Whether there is an <see cref="Importer"/> for the .onnx files that were built for Barracuda.</summary>
    public override bool CanLoadFile(string target)
      => Importer != null && target.StartsWith(TargetPrefix, System.StringComparison.Ordinal);

    /// <summary>Loads an imported network.</summary>
    public override StyleTransferNetwork Load(StyleTransferModel model, StyleTransferWorker worker)
      => new BarracudaNetwork(model, ModelLoader.Load((NNModel)model.Model), worker);

    /// <summary>Imports an .onnx file as the editor would.</summary>
    public override StyleTransferNetwork LoadFile(StyleTransferModel model, byte[] file, StyleTransferWorker worker)
      => new BarracudaNetwork(model, Importer.Import(file), worker);

    #endregion

    #region Public members

    /// <summary>What imports .onnx files while the game runs; null where the installed Barracuda cannot.</summary>
    public static BarracudaImporter Importer { get; set; }

    #endregion

    #region Private members

    const string TargetPrefix = "barracuda-";

#if BARRACUDA_3_OR_NEWER
    const string InstalledTarget = "barracuda-3.0";
    const string InstalledVersion = "3.0 or newer";
#elif BARRACUDA_2_OR_NEWER
    const string InstalledTarget = "barracuda-2.0";
    const string InstalledVersion = "2.x";
#else
    const string InstalledTarget = "barracuda-1.0";
    const string InstalledVersion = "1.x";
#endif

    [Preserve]
    [RuntimeInitializeOnLoadMethod(RuntimeInitializeLoadType.AfterAssembliesLoaded)]
#if UNITY_EDITOR
    [UnityEditor.InitializeOnLoadMethod]
#endif
    static void Register() => StyleTransferEngines.Register(new BarracudaEngine());

    #endregion
}

}
