using UnityEngine;
using UnityEngine.Rendering;
using Unity.Barracuda;

namespace StyleTransfer.Barracuda
{

/// <summary>
/// Selects a worker of Barracuda, given the user's choice and the machine.
/// </summary>
public static class BarracudaWorkers
{
    #region Public methods

    /// <summary>
    /// The worker to create on this machine.
    /// </summary>
    /// <param name="requested">the worker that the user selected</param>
    /// <param name="note">null if that worker is used; otherwise one sentence that says which one is used and why</param>
    public static StyleTransferWorker Choose(StyleTransferWorker requested, out string note)
      => Choose(requested, ComputeIsUsable, GraphicsIsUsable, out note);

    /// <summary>
    /// The worker to create on a machine with the given capabilities.
    /// </summary>
    /// <param name="requested">the worker that the user selected</param>
    /// <param name="compute">compute shaders exist and Barracuda supports them here</param>
    /// <param name="graphics">there is a graphics device at all (not so with -nographics)</param>
    /// <param name="note">null if that worker is used; otherwise one sentence that says which one is used and why</param>
    public static StyleTransferWorker Choose
      (StyleTransferWorker requested, bool compute, bool graphics, out string note)
    {
        note = null;

        if (requested == StyleTransferWorker.CSharpBurst || requested == StyleTransferWorker.CSharp) return requested;

        if (requested == StyleTransferWorker.PixelShader)
        {
        #if BARRACUDA_3_OR_NEWER
            if (graphics) return requested;
        #else
            note = "The PixelShader worker needs Barracuda 3.0; another worker is used instead.";
        #endif
        }

        if (compute)
            return requested == StyleTransferWorker.Compute ? requested : StyleTransferWorker.ComputePrecompiled;

    #if BARRACUDA_3_OR_NEWER
        if (graphics)
        {
            note = "Compute shaders cannot be used on this machine; the network runs as pixel shaders " +
              "(PixelShader worker), which is slower.";
            return StyleTransferWorker.PixelShader;
        }
    #endif

        note = "Compute shaders cannot be used on this machine; the network runs on the CPU " +
          "(CSharpBurst worker), which is too slow for real time with most networks.";
        return StyleTransferWorker.CSharpBurst;
    }

    /// <summary>Barracuda's own name of a worker.</summary>
    public static WorkerFactory.Type TypeOf(StyleTransferWorker worker)
    {
        switch (worker)
        {
            case StyleTransferWorker.Compute: return WorkerFactory.Type.Compute;
        #if BARRACUDA_3_OR_NEWER
            case StyleTransferWorker.PixelShader: return WorkerFactory.Type.PixelShader;
        #endif
            case StyleTransferWorker.CSharpBurst: return WorkerFactory.Type.CSharpBurst;
            case StyleTransferWorker.CSharp: return WorkerFactory.Type.CSharp;
            default: return WorkerFactory.Type.ComputePrecompiled;
        }
    }

    #endregion

    #region Private properties

    // Barracuda's GPU workers support neither OpenGL ES nor WebGL, even where the driver has compute shaders
    // (Documentation~/SupportedPlatforms.md of 1.0.4 and 3.0.0).
    static bool ComputeIsUsable
      => SystemInfo.supportsComputeShaders &&
         SystemInfo.graphicsDeviceType != GraphicsDeviceType.OpenGLES3;

    static bool GraphicsIsUsable
      => SystemInfo.graphicsDeviceType != GraphicsDeviceType.Null;

    #endregion
}

}
