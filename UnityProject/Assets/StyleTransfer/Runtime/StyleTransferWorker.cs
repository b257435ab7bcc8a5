using UnityEngine;
using UnityEngine.Rendering;
using Unity.Barracuda;

namespace StyleTransfer
{

/// <summary>
/// What runs the network. The numbers are serialised in scenes, therefore they are ours and never change,
/// unlike those of Barracuda's own enumeration.
/// </summary>
public enum StyleTransferWorker
{
    /// <summary>The fastest worker that this machine and the installed Barracuda offer.</summary>
    Auto = 0,
    /// <summary>Compute shaders, kernels chosen once per picture size. The fastest where compute shaders exist.</summary>
    ComputePrecompiled = 1,
    /// <summary>Compute shaders, kernels chosen at every run.</summary>
    Compute = 2,
    /// <summary>Pixel shaders: GPUs without compute shaders, WebGL. Barracuda 3.0 only.</summary>
    PixelShader = 3,
    /// <summary>Burst jobs on the CPU. Works everywhere, far too slow for real time with most networks.</summary>
    CSharpBurst = 4,
    /// <summary>Plain C# on the CPU, the slowest.</summary>
    CSharp = 5
}

/// <summary>
/// Chooses the Barracuda worker for a wish and a machine.
/// </summary>
public static class WorkerSelection
{
    #region Public methods

    /// <summary>
    /// The worker to create on this machine.
    /// </summary>
    /// <param name="wish">what the user asked for</param>
    /// <param name="note">null where the wish is granted, else one sentence that says what runs and why</param>
    public static WorkerFactory.Type Resolve(StyleTransferWorker wish, out string note)
      => Resolve(wish, ComputeIsUsable, GraphicsIsUsable, out note);

    /// <summary>
    /// The worker to create on a machine with the given abilities.
    /// </summary>
    /// <param name="wish">what the user asked for</param>
    /// <param name="compute">compute shaders exist and Barracuda supports them here</param>
    /// <param name="graphics">there is a graphics device at all (not so with -nographics)</param>
    /// <param name="note">null where the wish is granted, else one sentence that says what runs and why</param>
    public static WorkerFactory.Type Resolve
      (StyleTransferWorker wish, bool compute, bool graphics, out string note)
    {
        note = null;

        if (wish == StyleTransferWorker.CSharpBurst) return WorkerFactory.Type.CSharpBurst;
        if (wish == StyleTransferWorker.CSharp) return WorkerFactory.Type.CSharp;

        if (wish == StyleTransferWorker.PixelShader)
        {
        #if BARRACUDA_3_OR_NEWER
            if (graphics) return WorkerFactory.Type.PixelShader;
        #else
            note = "The PixelShader worker needs Barracuda 3.0; another one runs instead.";
        #endif
        }

        if (compute)
            return wish == StyleTransferWorker.Compute
              ? WorkerFactory.Type.Compute : WorkerFactory.Type.ComputePrecompiled;

    #if BARRACUDA_3_OR_NEWER
        if (graphics)
        {
            note = "Compute shaders cannot be used on this machine; the network runs as pixel shaders " +
              "(PixelShader worker), which is slower.";
            return WorkerFactory.Type.PixelShader;
        }
    #endif

        note = "Compute shaders cannot be used on this machine; the network runs on the CPU " +
          "(CSharpBurst worker), which is too slow for real time with most networks.";
        return WorkerFactory.Type.CSharpBurst;
    }

    /// <summary>
    /// Whether tensors of this worker live in main memory.
    /// </summary>
    public static bool IsCpu(WorkerFactory.Type type)
      => WorkerFactory.IsType(type, WorkerFactory.Device.CPU);

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
