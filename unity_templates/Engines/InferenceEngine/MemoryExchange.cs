using Unity.Collections;
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
/// Exchange with the CPU worker, through main memory. If the GPU supports reading back asynchronously, neither the
/// picture nor the result blocks: a run then takes a few frames longer.
/// </summary>
/// <remarks>
/// The package's own way would read the GPU's tensor back at once and wait for it.
/// </remarks>
sealed class MemoryExchange : PictureExchange
{
    #region PictureExchange implementation

    public MemoryExchange(WorkingSize size, int channels) => AllocateObjects(size, channels);

    public override RenderTexture Picture => _picture;

    public override Tensor<float> Input => _input;

    public override void BeginLoad()
    {
        Await();
        _requested = SystemInfo.supportsAsyncGPUReadback;
        if (_requested) _request = AsyncGPUReadback.RequestIntoNativeArray(ref _pixels, _picture, 0, TextureFormat.RGBA32);
    }

    public override bool IsLoaded => !_requested || _request.done;

    public override void EndLoad()
    {
        // The jobs of a run that was given up may still read.
        _input.CompleteAllPendingOperations();

        var arrived = Await() && !_request.hasError;
        if (arrived) PixelsToValues(_pixels);
        else ReadPixels();
        _input.Upload(_values);
    }

    public override void RequestOutput(Tensor<float> output) => output.ReadbackRequest();

    public override bool IsDone(Tensor<float> output) => output.IsReadbackRequestDone();

    public override Texture Show(Tensor<float> output)
    {
        int width = output.shape[InferenceNetwork.WidthAxis], height = output.shape[InferenceNetwork.HeightAxis];
        if (_result == null || _result.width != width || _result.height != height) AllocateResult(width, height);

        output.CompleteAllPendingOperations();
        ValuesToPixels(output.AsReadOnlyNativeArray(), output.shape[InferenceNetwork.ChannelAxis]);
        _result.Apply(false);
        return _result;
    }

    public override void Dispose() => ReleaseObjects();

    #endregion

    #region Private objects

    const int ColorChannels = 3;

    RenderTexture _picture;
    Texture2D _readback;
    NativeArray<Color32> _pixels;
    NativeArray<float> _values;
    Tensor<float> _input;
    Texture2D _result;
    AsyncGPUReadbackRequest _request;
    bool _requested;
    int _channels;

    #endregion

    #region Allocate / deallocate

    void AllocateObjects(WorkingSize size, int channels)
    {
        _channels = channels;
        _picture = Textures.AllocateTarget(size.Width, size.Height, RenderTextureFormat.ARGB32, false);
        _pixels = new NativeArray<Color32>(size.Height * size.Width, Allocator.Persistent);
        _values = new NativeArray<float>(size.Height * size.Width * channels, Allocator.Persistent);
        _input = new Tensor<float>(new TensorShape(1, channels, size.Height, size.Width));
    }

    // Only for GPUs that cannot be read back without waiting.
    void AllocateReadback() => _readback = Textures.AllocatePixels(_picture.width, _picture.height);

    void AllocateResult(int width, int height)
    {
        ReleaseResult();
        _result = Textures.AllocatePixels(width, height);
    }

    void ReleaseObjects()
    {
        ReleaseResult();

        // What is under way writes into or reads from the arrays.
        Await();
        if (_input != null) _input.CompleteAllPendingOperations();
        if (_input != null) _input.Dispose();
        _input = null;
        if (_values.IsCreated) _values.Dispose();
        if (_pixels.IsCreated) _pixels.Dispose();
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

    // Ends a request under way, if there is one.
    bool Await()
    {
        if (!_requested) return false;
        if (!_request.done) _request.WaitForCompletion();
        _requested = false;
        return true;
    }

    // Row 0 of a texture is the bottom, row 0 of a tensor the top; a tensor has one plane per channel.

    void ReadPixels()
    {
        if (_readback == null) AllocateReadback();
        Textures.ReadPixels(_picture, _readback);
        PixelsToValues(_readback.GetRawTextureData<Color32>());
    }

    void PixelsToValues(NativeArray<Color32> pixels)
    {
        int width = _picture.width, height = _picture.height, plane = width * height, index = 0;
        var values = _values;
        for (var row = height - 1; row >= 0; row--)
        {
            for (var column = 0; column < width; column++, index++)
            {
                var pixel = pixels[row * width + column];
                values[index] = (float)pixel.r / byte.MaxValue;
                if (_channels > 1) values[index + plane] = (float)pixel.g / byte.MaxValue;
                if (_channels > 2) values[index + 2 * plane] = (float)pixel.b / byte.MaxValue;
                if (_channels > ColorChannels) values[index + ColorChannels * plane] = (float)pixel.a / byte.MaxValue;
            }
        }
    }

    void ValuesToPixels(NativeArray<float>.ReadOnly values, int channels)
    {
        var pixels = _result.GetRawTextureData<Color32>();
        int width = _result.width, height = _result.height, plane = width * height, index = 0;
        var green = channels >= ColorChannels ? plane : 0;
        var blue = channels >= ColorChannels ? 2 * plane : 0;

        for (var row = height - 1; row >= 0; row--)
        {
            for (var column = 0; column < width; column++, index++)
                pixels[row * width + column] = new Color32
                  (Textures.ToByte(values[index]), Textures.ToByte(values[index + green]),
                   Textures.ToByte(values[index + blue]), byte.MaxValue);
        }
    }

    #endregion
}

}
