using System;
using UnityEngine;
using UnityEngine.Rendering;
#if STYLETRANSFER_SENTIS
using Unity.Sentis;
#else
using Unity.InferenceEngine;
#endif

namespace StyleTransfer.Inference
{

/// <summary>
/// Carries pictures into and out of the tensors of one worker, at one size.
/// </summary>
/// <remarks>
/// Pictures are upright textures of sRGB values without sRGB conversion, so no version of the package converts them:
/// from 2.2 on ToTensor re-encodes textures whose format is sRGB. In tensors, row 0 is the top, which is the package's
/// default (CoordOrigin.TopLeft).
/// </remarks>
abstract class PictureExchange : IDisposable
{
    /// <summary>The exchange for a kind of worker.</summary>
    /// <param name="backend">the worker</param>
    /// <param name="size">the working size</param>
    /// <param name="channels">the network's input channels</param>
    public static PictureExchange Allocate(BackendType backend, WorkingSize size, int channels)
    {
        if (backend == BackendType.GPUCompute) return new ComputeExchange(size, channels);
        if (backend == BackendType.GPUPixel) return new PixelExchange(size, channels);
        return new MemoryExchange(size, channels);
    }

    /// <summary>Where to draw the picture for the network.</summary>
    public abstract RenderTexture Picture { get; }

    /// <summary>The tensor to run. Valid after <see cref="EndLoad"/>.</summary>
    public abstract Tensor<float> Input { get; }

    /// <summary>Begins to take what is drawn on <see cref="Picture"/> into <see cref="Input"/>.</summary>
    public abstract void BeginLoad();

    /// <summary>Whether <see cref="EndLoad"/> need not wait.</summary>
    public virtual bool IsLoaded => true;

    /// <summary>The picture is in <see cref="Input"/> when this returns, or in the GPU's queue before the network.
    /// </summary>
    public virtual void EndLoad() {}

    /// <summary>All layers are given: begins to fetch their result.</summary>
    public virtual void RequestOutput(Tensor<float> output) {}

    /// <summary>Whether <see cref="Show"/> need not wait.</summary>
    public virtual bool IsDone(Tensor<float> output) => true;

    /// <summary>The network's output as a texture. It is valid until the next call.</summary>
    public abstract Texture Show(Tensor<float> output);

    /// <summary>Records what <see cref="BeginLoad"/> does.</summary>
    public virtual void RecordLoad(CommandBuffer commands) => throw new NotSupportedException();

    /// <summary>Records what <see cref="Show"/> does.</summary>
    public virtual Texture RecordShow(CommandBuffer commands, Tensor<float> output) => throw new NotSupportedException();

    /// <summary>Frees the textures and the tensor.</summary>
    public abstract void Dispose();
}

/// <summary>
/// Exchange with a GPU: nothing leaves it.
/// </summary>
abstract class GpuExchange : PictureExchange
{
    #region PictureExchange implementation

    public override RenderTexture Picture => _picture;

    public override Tensor<float> Input => _input;

    public override void Dispose() => ReleaseObjects();

    #endregion

    #region For what draws

    /// <param name="randomWrite">whether compute shaders write the result</param>
    protected GpuExchange(WorkingSize size, int channels, bool randomWrite)
    {
        _randomWrite = randomWrite;
        AllocateObjects(size, channels);
    }

    /// <summary>The texture for a result of this shape, of 0..1: the GPU clamps what is written, so networks need not.
    /// </summary>
    protected RenderTexture ResultFor(Tensor<float> output)
    {
        int width = output.shape[InferenceNetwork.WidthAxis], height = output.shape[InferenceNetwork.HeightAxis];
        if (_result == null || _result.width != width || _result.height != height) AllocateResult(width, height);
        return _result;
    }

    /// <summary>Grey pictures fill all channels; alpha is 1 where there are three.</summary>
    protected static TextureTransform Transform(Tensor<float> output)
      => new TextureTransform().SetBroadcastChannels(output.shape[InferenceNetwork.ChannelAxis] == 1);

    #endregion

    #region Private objects

    // 16 and 8 bits a channel.
    const RenderTextureFormat ResultFormat = RenderTextureFormat.ARGB64;
    const RenderTextureFormat PlainFormat = RenderTextureFormat.ARGB32;

    readonly bool _randomWrite;
    RenderTexture _picture;
    Tensor<float> _input;
    RenderTexture _result;

    bool CanHold(RenderTextureFormat format)
      => SystemInfo.SupportsRenderTextureFormat(format) &&
         (!_randomWrite || SystemInfo.SupportsRandomWriteOnRenderTextureFormat(format));

    #endregion

    #region Allocate / deallocate

    void AllocateObjects(WorkingSize size, int channels)
    {
        _picture = Textures.AllocateTarget(size.Width, size.Height, Textures.PreciseFormat, false);
        _input = new Tensor<float>(new TensorShape(1, channels, size.Height, size.Width), data: null);
    }

    void AllocateResult(int width, int height)
    {
        ReleaseResult();
        var format = CanHold(ResultFormat) ? ResultFormat : PlainFormat;
        _result = Textures.AllocateTarget(width, height, format, _randomWrite);
    }

    void ReleaseObjects()
    {
        ReleaseResult();
        if (_input != null) _input.Dispose();
        _input = null;
        Textures.Release(_picture);
        _picture = null;
    }

    void ReleaseResult()
    {
        Textures.Release(_result);
        _result = null;
    }

    #endregion
}

/// <summary>
/// Exchange with compute shaders, by commands.
/// </summary>
sealed class ComputeExchange : GpuExchange
{
    #region PictureExchange implementation

    public ComputeExchange(WorkingSize size, int channels) : base(size, channels, true) => AllocateObjects();

    public override void BeginLoad()
    {
        RecordLoad(_commands);
        Execute();
    }

    public override Texture Show(Tensor<float> output)
    {
        var result = RecordShow(_commands, output);
        Execute();
        return result;
    }

    public override void RecordLoad(CommandBuffer commands)
      => commands.ToTensor(Picture, Input, new TextureTransform());

    public override Texture RecordShow(CommandBuffer commands, Tensor<float> output)
    {
        var result = ResultFor(output);
        commands.RenderToTexture(output, result, Transform(output));
        return result;
    }

    public override void Dispose()
    {
        ReleaseObjects();
        base.Dispose();
    }

    #endregion

    #region Private members

    // ToTensor without a command buffer makes one in each call.
    CommandBuffer _commands;

    void AllocateObjects() => _commands = new CommandBuffer { name = "Style Transfer" };

    void ReleaseObjects()
    {
        if (_commands != null) _commands.Dispose();
        _commands = null;
    }

    void Execute()
    {
        Graphics.ExecuteCommandBuffer(_commands);
        _commands.Clear();
    }

    #endregion
}

/// <summary>
/// Exchange with pixel shaders, on machines without compute shaders.
/// </summary>
sealed class PixelExchange : GpuExchange
{
    public PixelExchange(WorkingSize size, int channels) : base(size, channels, false) {}

    public override void BeginLoad() => TextureConverter.ToTensor(Picture, Input, new TextureTransform());

    public override Texture Show(Tensor<float> output)
    {
        var result = ResultFor(output);
        TextureConverter.RenderToTexture(output, result, Transform(output));
        return result;
    }
}

}
