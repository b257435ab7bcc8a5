using System;
using System.Collections;
using UnityEngine;
using Unity.Barracuda;

namespace StyleTransfer.Barracuda
{

/// <summary>
/// A network on a worker of Barracuda.
/// </summary>
/// <remarks>
/// This code allocates no managed memory per frame. Barracuda does, some kilobytes per layer and run
/// (the enumerator and input lists of GenericWorker, the input's buffer on the GPU).
/// </remarks>
public sealed class BarracudaNetwork : StyleTransferNetwork
{
    #region StyleTransferNetwork implementation

    /// <summary>Makes the worker of a network.</summary>
    /// <param name="asset">the network's asset</param>
    /// <param name="model">the model that Barracuda loaded</param>
    /// <param name="worker">the worker to run it on</param>
    public BarracudaNetwork(StyleTransferModel asset, Model model, StyleTransferWorker worker)
      => AllocateWorker(asset, model, worker);

    /// <summary>What the model says of itself.</summary>
    public override NetworkDescription Describe()
    {
        var description = new NetworkDescription();
        foreach (var input in _model.inputs) description.Inputs.Add(input.name);
        description.Outputs.AddRange(_model.outputs);
        if (_model.inputs.Count == 0) return description;

        // Barracuda 1 stores N,H,W,C and 2 to 3 store eight dimensions that end in H,W,C: counted from the end,
        // both read alike. Unknown dimensions are -1.
        var shape = _model.inputs[0].shape;
        description.Channels = Mathf.Max(NetworkDescription.Unknown, shape[shape.Length - 1]);
        description.Width = Mathf.Max(NetworkDescription.Unknown, shape[shape.Length - 2]);
        description.Height = Mathf.Max(NetworkDescription.Unknown, shape[shape.Length - 3]);

    #if BARRACUDA_3_OR_NEWER
        // Kept from 2.1 on, unless the model's import settings skip it.
        if (_model.Metadata != null && _model.Metadata.Count > 0) description.Metadata = _model.Metadata;
    #endif
        return description;
    }

    /// <summary>The layers of the model.</summary>
    public override int LayerCount => _model.layers.Count;

    /// <summary>Whether tensors of this worker live in main memory.</summary>
    public override bool ComputesOnCpu => WorkerFactory.IsType(_type, WorkerFactory.Device.CPU);

    /// <summary>Makes textures and tensor for a size.</summary>
    public override void AllocateBuffers(WorkingSize size)
    {
        ReleaseBuffers();
        _exchange = TensorExchange.Allocate(_type, size, _asset.InputChannels);
        for (var i = 0; i < _guides.Length; i++)
            _guides[i] = TensorExchange.Allocate(_type, size, _asset.GuideLayout.Channels(i));
    }

    /// <summary>Frees them.</summary>
    public override void ReleaseBuffers()
    {
        _layersLeft = null;
        for (var i = _guides.Length - 1; i >= 0; i--)
        {
            if (_guides[i] != null) _guides[i].Dispose();
            _guides[i] = null;
        }
        if (_exchange != null) _exchange.Dispose();
        _exchange = null;
    }

    /// <summary>Where to draw the picture.</summary>
    public override RenderTexture Input => _exchange.Picture;

    /// <summary>Where to draw guides.</summary>
    public override RenderTexture GuideInput(int texture) => _guides[texture].Picture;

    /// <summary>Sets the model's second input to the weights of the styles, or to a style vector: one number per channel.
    /// </summary>
    public override void SetStyle(float[] weights) => AllocateStyle(weights);

    /// <summary>Reads the output back. From a GPU, the first call requests it; later calls return whether it has arrived.
    /// </summary>
    public override bool FinishNumbers(float[] numbers, bool waits)
    {
        _layersLeft = null;
        var output = _worker.PeekOutput(_asset.OutputName);
        if (!output.PrepareCacheForAccess(waits)) return false;

        // The array may be the worker's own memory, and longer than the tensor.
        Array.Copy(output.ToReadOnlyArray(), numbers, numbers.Length);
        return true;
    }

    /// <summary>Begins a run: copies the picture into the input tensor.</summary>
    public override void Begin()
    {
        for (var i = 0; i < _guides.Length; i++)
        {
            _guides[i].Load();
            _worker.SetInput(_asset.GuideInputs[i], _guides[i].Input);
        }
        _exchange.Load();
        _layersLeft = _worker.StartManualSchedule(_exchange.Input);
    }

    /// <summary>Schedules one layer.</summary>
    public override bool RunLayer() => _layersLeft.MoveNext();

    /// <summary>The share of the layers that have been scheduled.</summary>
    public override float Progress => _worker.scheduleProgress;

    /// <summary>The output as a texture.</summary>
    public override Texture Finish()
    {
        _layersLeft = null;
        var picture = _exchange.Show(_worker.PeekOutput(_asset.OutputName));
        SweepMaterials();
        return picture;
    }

    /// <summary>Runs the network on an array in Barracuda's order: row, column, channel.</summary>
    public override float[] Compute(float[] values, WorkingSize size, out WorkingSize result, out int channels)
    {
        var guides = new Tensor[_guides.Length];
        var first = _asset.InputChannels;
        try
        {
            for (var i = 0; i < guides.Length; i++)
            {
                guides[i] = AllocateTensor(values, size, first, _asset.GuideLayout.Channels(i));
                _worker.SetInput(_asset.GuideInputs[i], guides[i]);
                first += _asset.GuideLayout.Channels(i);
            }
            using (var input = AllocateTensor(values, size, 0, _asset.InputChannels))
            {
                _worker.Execute(input);
                var output = _worker.PeekOutput(_asset.OutputName);
                result = new WorkingSize(output.width, output.height);
                channels = output.channels;

                // A copy: the array may be the worker's own memory, and longer than the tensor.
                var copy = new float[output.height * output.width * output.channels];
                Array.Copy(output.ToReadOnlyArray(), copy, copy.Length);
                return copy;
            }
        }
        finally
        {
            foreach (var guide in guides) if (guide != null) guide.Dispose();
        }
    }

    // A tensor of some of the channels of each pixel.
    Tensor AllocateTensor(float[] values, WorkingSize size, int first, int channels)
    {
        var stride = _asset.InputChannels + _asset.GuideChannels;
        if (stride == channels) return new Tensor(1, size.Height, size.Width, channels, values);

        var some = new float[size.Height * size.Width * channels];
        for (var i = 0; i < some.Length; i++) some[i] = values[i / channels * stride + first + i % channels];
        return new Tensor(1, size.Height, size.Width, channels, some);
    }

    /// <summary>Frees the worker and what belongs to it.</summary>
    public override void Dispose() => ReleaseWorker();

    #endregion

    #region Private objects

    StyleTransferModel _asset;
    Model _model;
    WorkerFactory.Type _type;
    IWorker _worker;
    TensorExchange _exchange;

    // One for each texture of guides.
    TensorExchange[] _guides;

    // The weights of the styles; null for a network of one.
    Tensor _style;
    IEnumerator _layersLeft;

    #endregion

    #region Allocate / deallocate

    void AllocateWorker(StyleTransferModel asset, Model model, StyleTransferWorker worker)
    {
        _asset = asset;
        _model = model;
        _type = BarracudaWorkers.TypeOf(worker);
        _guides = new TensorExchange[asset.GuideInputs.Length];
        LimitTextures();
        _worker = WorkerFactory.CreateWorker(_type, model);
        BarracudaChannels.Loaded();
    }

    // A new tensor for each choice: one that the GPU has received is not written again.
    void AllocateStyle(float[] weights)
    {
        var before = _style;
        _style = new Tensor(1, 1, 1, weights.Length, (float[])weights.Clone());
        _worker.SetInput(_asset.StyleInput, _style);
        if (before != null) before.Dispose();
    }

    void ReleaseWorker()
    {
        ReleaseBuffers();
        if (_style != null) _style.Dispose();
        _style = null;
        if (_worker != null)
        {
            _worker.Dispose();
            BarracudaChannels.Freed();
        }
        _worker = null;
        _model = null;
        _asset = null;
    }

    #endregion

    #region Version differences

#if BARRACUDA_3_OR_NEWER

    // The PixelShader worker of 3.0.0 makes a Material per layer and run and destroys none
    // (BarracudaPixelShader.cs, every operation): without this a player runs out of memory after a while.
    const int RunsBetweenSweeps = 600;

    int _runsSinceSweep;

    // The PixelShader worker lays tensors out in textures of up to 16384 texels a side, more than some phones and
    // browsers have.
    static void LimitTextures()
      => TextureTensorData.MaxTextureSize = Mathf.Min(TextureTensorData.MaxTextureSize, SystemInfo.maxTextureSize);

    void SweepMaterials()
    {
        if (_type != WorkerFactory.Type.PixelShader || ++_runsSinceSweep < RunsBetweenSweeps) return;
        _runsSinceSweep = 0;
        Resources.UnloadUnusedAssets();
    }

#else

    static void SweepMaterials() {}

    static void LimitTextures() {}

#endif

    #endregion
}

}
