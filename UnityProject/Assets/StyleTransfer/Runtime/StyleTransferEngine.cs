using System;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// Runs networks, with an inference package or with the bundle's own kernels. Each engine is a separate assembly in
/// StyleTransfer/Engines, which is compiled only if its package is installed and registers itself with
/// <see cref="StyleTransferEngines"/>. All other code uses engines only through this class.
/// </summary>
public abstract class StyleTransferEngine
{
    #region Identity

    /// <summary>The name of the engine for people, such as "Barracuda".</summary>
    public abstract string Name { get; }

    /// <summary>The pipeline's target for the installed version, such as "barracuda-3.0".</summary>
    public abstract string Target { get; }

    /// <summary>The installed version for people, as far as scripts can know it, such as "3.0 or newer".</summary>
    public abstract string Version { get; }

    /// <summary>Whether the engine is a package of Unity, which a project has in one version or not at all.</summary>
    public virtual bool IsPackage => true;

    #endregion

    #region Workers

    /// <summary>The worker to use on this machine; never <see cref="StyleTransferWorker.Auto"/>.</summary>
    /// <param name="requested">the worker that the user selected</param>
    /// <param name="note">null if that worker is used; otherwise one sentence that says which one is used and why</param>
    public abstract StyleTransferWorker Choose(StyleTransferWorker requested, out string note);

    /// <summary>
    /// The workers that <see cref="StyleTransferNetwork.Compute"/> is used with to prove a golden frame, the
    /// preferred one first. Those that need no graphics device come first, for build servers.
    /// </summary>
    public abstract StyleTransferWorker[] ProofWorkers { get; }

    #endregion

    #region Loading

    /// <summary>
    /// Whether the engine takes what an importer of Unity made of the model's file, by its type.
    /// </summary>
    /// <param name="imported">the asset's <see cref="StyleTransferModel.Model"/>, not null</param>
    public abstract bool CanLoad(UnityEngine.Object imported);

    /// <summary>Whether the engine loads model files from their bytes while the game runs.</summary>
    /// <param name="target">what the file was built for; see <see cref="StyleTransferModel.Target"/></param>
    public virtual bool CanLoadFile(string target) => false;

    /// <summary>Loads an imported network and creates its worker. Call it on the main thread.</summary>
    /// <param name="model">its <see cref="StyleTransferModel.Model"/> is one that <see cref="CanLoad"/> takes</param>
    /// <param name="worker">the result of <see cref="Choose"/></param>
    /// <exception cref="Exception">the network cannot run; everything is freed</exception>
    public abstract StyleTransferNetwork Load(StyleTransferModel model, StyleTransferWorker worker);

    /// <summary>Loads a network from the bytes of its file and creates its worker. Call it on the main thread.</summary>
    /// <param name="model">the network's asset; its <see cref="StyleTransferModel.Model"/> is null</param>
    /// <param name="file">the whole file</param>
    /// <param name="worker">the result of <see cref="Choose"/></param>
    /// <exception cref="Exception">as above</exception>
    public virtual StyleTransferNetwork LoadFile(StyleTransferModel model, byte[] file, StyleTransferWorker worker)
      => throw new NotSupportedException(Name + " cannot load model files while the game runs.");

    #endregion
}

}
