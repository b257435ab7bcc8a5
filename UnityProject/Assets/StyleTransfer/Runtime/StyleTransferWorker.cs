namespace StyleTransfer
{

/// <summary>
/// What runs the network. The numeric values are serialised in scenes, so they never change. An engine without one of
/// these workers uses the most similar one and reports that.
/// </summary>
public enum StyleTransferWorker
{
    /// <summary>The fastest worker that this machine and the installed engine offer.</summary>
    Auto = 0,
    /// <summary>Compute shaders, kernels chosen once per picture size. Barracuda only.</summary>
    ComputePrecompiled = 1,
    /// <summary>Compute shaders (GPUCompute in Inference Engine).</summary>
    Compute = 2,
    /// <summary>Pixel shaders (GPUPixel in Inference Engine): GPUs without compute shaders, WebGL. Barracuda has
    /// them from 3.0 on.</summary>
    PixelShader = 3,
    /// <summary>Burst jobs on the CPU (CPU in Inference Engine). Works everywhere, far too slow for real time with
    /// most networks.</summary>
    CSharpBurst = 4,
    /// <summary>Plain C# on the CPU, the slowest. Barracuda only.</summary>
    CSharp = 5
}

}
