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

    /// <summary>What the loaded network says of itself. Allocates; for checks after loading.</summary>
    public abstract NetworkDescription Describe();

    /// <summary>How many layers a run has, about: <see cref="RunLayer"/> may return true more or less often.</summary>
    public abstract int LayerCount { get; }

    /// <summary>Whether layers are computed by the CPU, when <see cref="RunLayer"/> is called.</summary>
    public abstract bool ComputesOnCpu { get; }

    #endregion

    #region Several styles

    /// <summary>Chooses the style of the runs that begin from now on, of a network that has several.</summary>
    /// <param name="weights">one for each style of the asset; between them its numbers are interpolated. Or the numbers
    /// of a style, where <see cref="StyleTransferModel.HasStyleVectors"/>. Kept by the caller, who may change them later
    /// </param>
    public virtual void SetStyle(float[] weights) {}

    /// <summary>The result of the run that has ended, of a network that makes numbers of a style and no picture.</summary>
    /// <param name="numbers">as many as the network gives</param>
    /// <param name="waits">waits where they are still on their way from the GPU</param>
    /// <returns>whether they are there; if not, to be called again in a later frame</returns>
    public virtual bool FinishNumbers(float[] numbers, bool waits)
      => throw new NotSupportedException("This engine runs no style predictors.");

    #endregion

    #region A run

    /// <summary>Makes input and output for a picture size, in place of those for the size before.</summary>
    public abstract void AllocateBuffers(WorkingSize size);

    /// <summary>Frees them, and gives up a run under way. A second call does nothing.</summary>
    public abstract void ReleaseBuffers();

    /// <summary>Where to draw the picture for the next run.</summary>
    public abstract RenderTexture Input { get; }

    /// <summary>Where to draw guides for the next run, of a network that takes some.</summary>
    /// <param name="texture">from 0; <see cref="GuideLayout"/> says which guides are in its channels</param>
    public virtual RenderTexture GuideInput(int texture)
      => throw new NotSupportedException("This engine runs no networks with guides.");

    /// <summary>Begins a run on what is drawn on <see cref="Input"/>; a run under way is given up.</summary>
    public abstract void Begin();

    /// <summary>Whether <see cref="RunLayer"/> would wait for the GPU or for jobs. It need not be called until then.
    /// </summary>
    public virtual bool IsWaiting => false;

    /// <summary>Gives the next layer to the worker. False when the result is there.</summary>
    public abstract bool RunLayer();

    /// <summary>The share of the run under way that was given to the worker, 0 to 1.</summary>
    public abstract float Progress { get; }

    /// <summary>The picture of the run that has ended. Valid until the next run or size.</summary>
    public abstract Texture Finish();

    #endregion

    #region Inside a frame

    /// <summary>Whether <see cref="Record"/> can be used: a render pipeline's frame then shows its own picture.
    /// </summary>
    public virtual bool CanRecord => false;

    /// <summary>Records a whole run on what the commands before draw on <see cref="Input"/>.</summary>
    /// <returns>what later commands can read the result from</returns>
    public virtual Texture Record(CommandBuffer commands) => throw new NotSupportedException();

    #endregion

    #region Numbers

    /// <summary>One run on numbers, at once, without any texture: for proofs. Waits for the result.</summary>
    /// <param name="values">the picture in 0..1, row 0 at the top; per pixel as many values as the network has
    /// input channels, those of the guides after those of the colour</param>
    /// <param name="size">of the picture, in pixels</param>
    /// <param name="result">the size of the network's picture</param>
    /// <param name="channels">values per pixel of the network's picture</param>
    /// <returns>the network's picture, in the same order</returns>
    public abstract float[] Compute(float[] values, WorkingSize size, out WorkingSize result, out int channels);

    #endregion

    /// <summary>Frees everything. A run under way is given up. A second call does nothing.</summary>
    public abstract void Dispose();
}

}
