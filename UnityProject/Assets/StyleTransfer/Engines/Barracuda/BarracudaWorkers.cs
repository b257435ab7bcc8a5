using UnityEngine;
using UnityEngine.Rendering;
using Unity.Barracuda;

namespace StyleTransfer.Barracuda
{

/// <summary>
/// Chooses a worker of Barracuda for a wish and a machine.
/// </summary>
public static class BarracudaWorkers
{
    #region Public methods

    /// <summary>
    /// The worker to create on this machine.
    /// </summary>
    /// <param name="wish">what the user asked for</param>
    /// <param name="note">null where the wish is granted, else one sentence that says what runs and why</param>
    public static StyleTransferWorker Choose(StyleTransferWorker wish, out string note)
      => Choose(wish, ComputeIsUsable, GraphicsIsUsable, out note);

    /// <summary>
    /// The worker to create on a machine with the given abilities.
    /// </summary>
    /// <param name="wish">what the user asked for</param>
    /// <param name="compute">compute shaders exist and Barracuda supports them here</param>
    /// <param name="graphics">there is a graphics device at all (not so with -nographics)</param>
    /// <param name="note">null where the wish is granted, else one sentence that says what runs and why</param>
    public static StyleTransferWorker Choose
      (StyleTransferWorker wish, bool compute, bool graphics, out string note)
    {
        note = null;

        if (wish == StyleTransferWorker.CSharpBurst || wish == StyleTransferWorker.CSharp) return wish;

        if (wish == StyleTransferWorker.PixelShader)
        {
        #if BARRACUDA_3_OR_NEWER
            if (graphics) return wish;
        #else
            note = "The PixelShader worker needs Barracuda 3.0; another one runs instead.";
        #endif
        }

        if (compute)
            return wish == StyleTransferWorker.Compute ? wish : StyleTransferWorker.ComputePrecompiled;

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
