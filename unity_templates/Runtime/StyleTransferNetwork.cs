using System;
using UnityEngine;
using UnityEngine.Rendering;

namespace StyleTransfer
{

/// <summary>
/// One network that an engine has loaded, with the worker, tensors and textures to run it. To be used on the main
/// thread. Between <see cref="AllocateBuffers"/> and <see cref="Dispose"/> no method allocates managed memory itself.
/// </summary>
/// <remarks>
/// A run, at the size of <see cref="AllocateBuffers"/>: a picture is drawn on <see cref="Input"/>, <see cref="Begin"/>
/// takes it, <see cref="RunLayer"/> is called until it returns false, and <see cref="Finish"/> gives the result.
/// Pictures are upright textures of sRGB values in 0..1, stored without sRGB conversion; for a network with one input
/// channel, red, green and blue are equal.
/// </remarks>
public abstract class StyleTransferNetwork : IDisposable
{
    #region What was loaded

    /// <summary>The properties of the loaded network, to be checked after loading. Allocates.</summary>
    public abstract NetworkDescription Describe();

    /// <summary>How many layers a run has, about: <see cref="RunLayer"/> may return true more or less often.</summary>
    public abstract int LayerCount { get; }

    /// <summary>Whether layers are computed by the CPU, when <see cref="RunLayer"/> is called.</summary>
    public abstract bool ComputesOnCpu { get; }

    #endregion

    #region Several styles

    /// <summary>Sets the style of the runs that begin after this call, for a network with several styles.</summary>
    /// <param name="weights">one weight for each style of the asset, or a style vector if
    /// <see cref="StyleTransferModel.HasStyleVectors"/>. Copied: the caller may change the array later</param>
    public virtual void SetStyle(float[] weights) {}

    /// <summary>Reads the style vector of the finished run of a style predictor.</summary>
    /// <param name="numbers">receives the vector; has its length</param>
    /// <param name="waits">whether to wait for the GPU</param>
    /// <returns>whether the vector was read; if not, call this again in a later frame</returns>
    public virtual bool FinishNumbers(float[] numbers, bool waits)
      => throw new NotSupportedException("This engine runs no style predictors.");

    #endregion

    #region A run

    /// <summary>Creates the input and output for a picture size; frees those of the previous size.</summary>
    public abstract void AllocateBuffers(WorkingSize size);

    /// <summary>Frees the input and output, and cancels a run in progress. A second call does nothing.</summary>
    public abstract void ReleaseBuffers();

    /// <summary>Where to draw the picture for the next run.</summary>
    public abstract RenderTexture Input { get; }

    /// <summary>Where to draw guides for the next run, if the network takes guides.</summary>
    /// <param name="texture">from 0; <see cref="GuideLayout"/> says which guides are in its channels</param>
    public virtual RenderTexture GuideInput(int texture)
      => throw new NotSupportedException("This engine runs no networks with guides.");

    /// <summary>Begins a run on the content of <see cref="Input"/>, and cancels a run in progress.</summary>
    public abstract void Begin();

    /// <summary>Whether <see cref="RunLayer"/> would wait for the GPU or for jobs. It need not be called until then.
    /// </summary>
    public virtual bool IsWaiting => false;

    /// <summary>Schedules the next layer. Returns false when the result is ready.</summary>
    public abstract bool RunLayer();

    /// <summary>The share of the current run that has been scheduled, 0 to 1.</summary>
    public abstract float Progress { get; }

    /// <summary>The output of the finished run. Valid until the next run or change of size.</summary>
    public abstract Texture Finish();

    #endregion

    #region Inside a frame

    /// <summary>Whether <see cref="Record"/> can be used, so that a frame of URP or HDRP shows its own output, without
    /// delay.</summary>
    public virtual bool CanRecord => false;

    /// <summary>Records a whole run on what earlier commands draw to <see cref="Input"/>.</summary>
    /// <returns>the output, for later commands</returns>
    public virtual Texture Record(CommandBuffer commands) => throw new NotSupportedException();

    #endregion

    #region Numbers

    /// <summary>Runs the network on an array instead of a texture, and waits for the result: for golden frames.</summary>
    /// <param name="values">the picture in 0..1, row 0 at the top; per pixel as many values as the network has
    /// input channels, those of the guides after those of the colour</param>
    /// <param name="size">of the picture, in pixels</param>
    /// <param name="result">the size of the network's picture</param>
    /// <param name="channels">values per pixel of the network's picture</param>
    /// <returns>the network's picture, in the same order</returns>
    public abstract float[] Compute(float[] values, WorkingSize size, out WorkingSize result, out int channels);

    #endregion

    /// <summary>Frees everything, and cancels a run in progress. A second call does nothing.</summary>
    public abstract void Dispose();
}

}
