using System;
using UnityEngine;
using Unity.Barracuda;

namespace StyleTransfer.Barracuda
{

/// <summary>
/// Carries pictures into and out of the tensors of one worker, at one working size. All that differs between
/// workers and between Barracuda versions in this respect is in the two classes below.
/// </summary>
/// <remarks>
/// Pictures are upright textures of sRGB values, as Unity samples them; in tensors, row 0 is the top.
/// </remarks>
abstract class TensorExchange : IDisposable
{
    /// <summary>The exchange for a kind of worker.</summary>
    /// <param name="type">the worker</param>
    /// <param name="size">the working size</param>
    /// <param name="channels">the network's input channels</param>
    public static TensorExchange Allocate(WorkerFactory.Type type, WorkingSize size, int channels)
    {
        if (WorkerFactory.IsType(type, WorkerFactory.Device.CPU)) return new ArrayExchange(size, channels);
        return new TextureExchange(type, size, channels);
    }

    /// <summary>Where to draw the picture for the network.</summary>
    public abstract RenderTexture Picture { get; }

    /// <summary>The tensor to execute. Valid after <see cref="Load"/>, until the next one.</summary>
    public abstract Tensor Input { get; }

    /// <summary>Takes what is drawn on <see cref="Picture"/> into <see cref="Input"/>.</summary>
    public abstract void Load();

    /// <summary>The network's output as a texture. It is valid until the next call.</summary>
    public abstract Texture Show(Tensor output);

    /// <summary>Frees the textures and the tensor.</summary>
    public abstract void Dispose();
}

/// <summary>
/// Exchange with GPU workers: nothing leaves the GPU.
/// </summary>
sealed class TextureExchange : TensorExchange
{
    #region TensorExchange implementation

    public TextureExchange(WorkerFactory.Type type, WorkingSize size, int channels)
      => AllocateObjects(type, size, channels);

    public override RenderTexture Picture => _picture;

    public override Tensor Input => _input;

    // At the first Execute, the worker replaces the storage of a tensor made from a texture by a buffer, and would read
    // that same buffer in all later runs (ReferenceComputeOps.Pin, the same in 1.0.4, 2.0.0 and 3.0.0). Attaching the
    // texture again frees the old buffer, so that no new tensor is needed per frame.
    public override void Load() => _input.AttachToDevice(_view);

    public override Texture Show(Tensor output)
    {
        if (_result == null || _result.width != output.width || _result.height != output.height)
            AllocateResult(output.width, output.height);

        DrawTensor(output, _result);
        return _result;
    }

    public override void Dispose() => ReleaseObjects();

    #endregion

    #region Private objects

    RenderTexture _picture;
    TextureAsTensorData _view;
    Tensor _input;
    RenderTexture _result;

    // Whether compute shaders write the result; their targets must be made for it.
    bool _computes;

#if BARRACUDA_3_OR_NEWER
    // Set only for the PixelShader worker.
    PixelShaderOps _pixelOps;
#endif

    #endregion

    #region Allocate / deallocate

    void AllocateObjects(WorkerFactory.Type type, WorkingSize size, int channels)
    {
        _picture = Textures.AllocateTarget(size.Width, size.Height, Textures.PreciseFormat, false);
        _view = new TextureAsTensorData(_picture, channels);
        _input = new Tensor(_picture, channels);
        _computes = true;
    #if BARRACUDA_3_OR_NEWER
        _computes = type != WorkerFactory.Type.PixelShader;
        if (!_computes) _pixelOps = new PixelShaderOps();
    #endif
    }

    void AllocateResult(int width, int height)
    {
        ReleaseResult();
        _result = Textures.AllocateTarget(width, height, Textures.PreciseFormat, _computes);
    }

    void ReleaseObjects()
    {
        ReleaseResult();
    #if BARRACUDA_3_OR_NEWER
        _pixelOps = null;
    #endif
        if (_input != null) _input.Dispose();
        _input = null;
        if (_view != null) _view.Dispose();
        _view = null;
        Textures.Release(_picture);
        _picture = null;
    }

    void ReleaseResult()
    {
        Textures.Release(_result);
        _result = null;
    }

    #endregion

    #region Version differences

    // Tensor.ToRenderTexture of 3.0.0 does nothing, silently, for the tensors of a PixelShader worker on a
    // machine that has compute shaders (Tensor.cs:2513): the worker's own operations draw them everywhere.
    void DrawTensor(Tensor tensor, RenderTexture target)
    {
    #if BARRACUDA_3_OR_NEWER
        if (_pixelOps != null)
        {
            _pixelOps.TensorToRenderTexture(tensor, target, 0, 0, Vector4.one, Vector4.zero, null);
            return;
        }
    #endif
        tensor.ToRenderTexture(target);
    }

    #endregion
}

/// <summary>
/// Exchange with CPU workers, through main memory. It needs no compute shaders, which Barracuda's own way from
/// textures to CPU tensors and back does in every version.
/// </summary>
/// <remarks>
/// Reading back waits for the GPU, which is negligible compared with the time of a CPU worker.
/// </remarks>
sealed class ArrayExchange : TensorExchange
{
    #region TensorExchange implementation

    public ArrayExchange(WorkingSize size, int channels) => AllocateObjects(size, channels);

    public override RenderTexture Picture => _picture;

    public override Tensor Input => _input;

    public override void Load()
    {
        Textures.ReadPixels(_picture, _readback);
        PixelsToValues();

        // Pin (not tensorOnDevice): it also completes the jobs that may still read the last frame.
        UnsafeArrayCPUOps.Pin(_input).Upload(_values, _input.shape);
    }

    public override Texture Show(Tensor output)
    {
        if (_result == null || _result.width != output.width || _result.height != output.height)
            AllocateResult(output.width, output.height);

        ValuesToPixels(output);
        _result.Apply(false);
        return _result;
    }

    public override void Dispose() => ReleaseObjects();

    #endregion

    #region Private objects

    const int ColorChannels = 3;

    RenderTexture _picture;
    Texture2D _readback;
    float[] _values;
    Tensor _input;
    Texture2D _result;

    #endregion

    #region Allocate / deallocate

    void AllocateObjects(WorkingSize size, int channels)
    {
        _picture = Textures.AllocateTarget(size.Width, size.Height, RenderTextureFormat.ARGB32, false);
        _readback = Textures.AllocatePixels(size.Width, size.Height);
        _values = new float[size.Height * size.Width * channels];
        _input = new Tensor(1, size.Height, size.Width, channels, _values);
    }

    void AllocateResult(int width, int height)
    {
        ReleaseResult();
        _result = Textures.AllocatePixels(width, height);
    }

    void ReleaseObjects()
    {
        ReleaseResult();
        if (_input != null) _input.Dispose();
        _input = null;
        _values = null;
        Textures.Release(_readback);
        _readback = null;
        Textures.Release(_picture);
        _picture = null;
    }

    void ReleaseResult()
    {
        Textures.Release(_result);
        _result = null;
    }

    #endregion

    #region Conversion

    // Row 0 of a texture is the bottom, row 0 of a tensor the top.

    void PixelsToValues()
    {
        var pixels = _readback.GetRawTextureData<Color32>();
        int width = _picture.width, height = _picture.height, index = 0;
        var channels = _input.channels;

        for (var row = height - 1; row >= 0; row--)
        {
            for (var column = 0; column < width; column++)
            {
                var pixel = pixels[row * width + column];
                if (channels == 1)
                {
                    // As Barracuda does for a texture and one channel (TextureUtils.compute:101 of 3.0.0).
                    _values[index++] = (float)(pixel.r + pixel.g + pixel.b) / (ColorChannels * byte.MaxValue);
                    continue;
                }
                _values[index++] = (float)pixel.r / byte.MaxValue;
                _values[index++] = (float)pixel.g / byte.MaxValue;
                if (channels >= ColorChannels) _values[index++] = (float)pixel.b / byte.MaxValue;
                if (channels > ColorChannels) _values[index++] = (float)pixel.a / byte.MaxValue;
            }
        }
    }

    void ValuesToPixels(Tensor output)
    {
        // A float[] up to Barracuda 2.1 and a BarracudaArray after it, hence var; either is the tensor's own
        // memory, not a copy.
        int index;
        var values = UnsafeArrayCPUOps.Pin(output).SharedAccess(out index);

        var pixels = _result.GetRawTextureData<Color32>();
        int width = _result.width, height = _result.height, channels = output.channels;
        var green = channels >= ColorChannels ? 1 : 0;
        var blue = channels >= ColorChannels ? 2 : 0;

        for (var row = height - 1; row >= 0; row--)
        {
            for (var column = 0; column < width; column++)
            {
                pixels[row * width + column] = new Color32
                  (Textures.ToByte(values[index]), Textures.ToByte(values[index + green]),
                   Textures.ToByte(values[index + blue]), byte.MaxValue);
                index += channels;
            }
        }
    }

    #endregion
}

}
