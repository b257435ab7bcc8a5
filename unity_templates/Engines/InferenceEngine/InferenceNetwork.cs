using System;
using System.Collections;
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
/// A network on a worker of the package.
/// </summary>
/// <remarks>
/// This code allocates no managed memory per frame. The package does: an enumerator per run, and per layer what its
/// backend needs.
/// </remarks>
public sealed class InferenceNetwork : StyleTransferNetwork
{
    #region StyleTransferNetwork implementation

    /// <summary>Creates the worker of a network.</summary>
    /// <param name="asset">the network's asset</param>
    /// <param name="model">the model that the package loaded</param>
    /// <param name="backend">the backend to run it on</param>
    public InferenceNetwork(StyleTransferModel asset, Model model, BackendType backend)
      => AllocateWorker(asset, model, backend);

    /// <summary>The properties of the loaded model.</summary>
    /// <remarks>The names are those of the asset, because up to 2.3 the package removes ":0" from the ends of names; only
    /// the number of inputs and outputs is compared. The package keeps no metadata.</remarks>
    public override NetworkDescription Describe()
    {
        var description = new NetworkDescription();
        foreach (var input in _model.inputs) description.Inputs.Add(WholeName(input.name, _asset.InputName));
        foreach (var output in _model.outputs) description.Outputs.Add(WholeName(output.name, _asset.OutputName));
        if (_model.inputs.Count == 0) return description;

        var shape = _model.inputs[0].shape;
        if (shape.isRankDynamic || shape.rank != PictureRank) return description;

        // Extents that are free are -1.
        description.Channels = Mathf.Max(NetworkDescription.Unknown, shape.Get(ChannelAxis));
        description.Height = Mathf.Max(NetworkDescription.Unknown, shape.Get(HeightAxis));
        description.Width = Mathf.Max(NetworkDescription.Unknown, shape.Get(WidthAxis));
        return description;
    }

    /// <summary>The layers of the model.</summary>
    public override int LayerCount => _model.layers.Count;

    /// <summary>Whether tensors of this worker live in main memory.</summary>
    public override bool ComputesOnCpu => _backend == BackendType.CPU;

    /// <summary>Creates the textures and the input tensor for a size.</summary>
    public override void AllocateBuffers(WorkingSize size)
    {
        ReleaseBuffers();
        _exchange = PictureExchange.Allocate(_backend, size, _asset.InputChannels);
        for (var i = 0; i < _guides.Length; i++)
        {
            _guides[i] = PictureExchange.Allocate(_backend, size, _asset.GuideLayout.Channels(i));
            _worker.SetInput(FirstGuide + i, _guides[i].Input);
        }
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

    /// <summary>Sets the model's second input to the weights of the styles, or to a style vector.</summary>
    public override void SetStyle(float[] weights) => AllocateStyle(weights);

    /// <summary>Reads the output back. The first call requests it; later calls return whether it has arrived.</summary>
    public override bool FinishNumbers(float[] numbers, bool waits)
    {
        _layersLeft = null;
        if (!_asksForNumbers) _output.ReadbackRequest();
        _asksForNumbers = true;
        if (!waits && !_output.IsReadbackRequestDone()) return false;

        _asksForNumbers = false;
        _output.CompleteAllPendingOperations();
        Array.Copy(_output.DownloadToArray(), numbers, numbers.Length);
        return true;
    }

    /// <summary>Begins a run. The first layer is scheduled when the picture has arrived.</summary>
    public override void Begin()
    {
        _layersLeft = null;
        _layersGiven = 0;
        _output = null;
        _asksForNumbers = false;
        for (var i = 0; i < _guides.Length; i++) _guides[i].BeginLoad();
        _exchange.BeginLoad();
    }

    /// <summary>Whether the picture has not arrived on the CPU yet, or its jobs are not finished.</summary>
    public override bool IsWaiting
      => _output != null ? !_exchange.IsDone(_output) : _layersLeft == null && !IsLoaded;

    /// <summary>Schedules one layer. After the last one, waits for jobs that are not finished.</summary>
    public override bool RunLayer()
    {
        if (_output != null) return false;
        if (_layersLeft == null) _layersLeft = Schedule();

        if (_layersLeft.MoveNext())
        {
            _layersGiven++;
            Execute();
            return true;
        }

        Execute();
        _output = (Tensor<float>)_worker.PeekOutput(0);
        _exchange.RequestOutput(_output);
        return IsWaiting;
    }

    /// <summary>The share of the layers.</summary>
    public override float Progress => Mathf.Clamp01((float)_layersGiven / Mathf.Max(1, _model.layers.Count));

    /// <summary>The output as a texture.</summary>
    public override Texture Finish()
    {
        _layersLeft = null;
        return _exchange.Show(_output);
    }

    /// <summary>Whether a whole run fits into a frame's commands: with compute shaders.</summary>
    public override bool CanRecord => _backend == BackendType.GPUCompute;

    /// <summary>Records conversion, network and conversion back.</summary>
    public override Texture Record(CommandBuffer commands)
    {
        _layersLeft = null;
        for (var i = 0; i < _guides.Length; i++) _guides[i].RecordLoad(commands);
        _exchange.RecordLoad(commands);
        commands.ScheduleWorker(_worker, _exchange.Input);
        return _exchange.RecordShow(commands, (Tensor<float>)_worker.PeekOutput(0));
    }

    /// <summary>One run on numbers. The package has channels first, this class last; results are clamped to 0..1, as
    /// those that become a picture are, but not the numbers of a style.</summary>
    public override float[] Compute(float[] values, WorkingSize size, out WorkingSize result, out int channels)
    {
        var guides = new Tensor<float>[_guides.Length];
        var first = _asset.InputChannels;
        try
        {
            for (var i = 0; i < guides.Length; i++)
            {
                guides[i] = AllocateTensor(values, size, first, _asset.GuideLayout.Channels(i));
                _worker.SetInput(FirstGuide + i, guides[i]);
                first += _asset.GuideLayout.Channels(i);
            }
            return Compute(AllocateTensor(values, size, 0, _asset.InputChannels), out result, out channels);
        }
        finally
        {
            foreach (var guide in guides) if (guide != null) guide.Dispose();
        }
    }

    float[] Compute(Tensor<float> picture, out WorkingSize result, out int channels)
    {
        using (picture)
        {
            _worker.Schedule(picture);
            var output = (Tensor<float>)_worker.PeekOutput(0);
            result = new WorkingSize(output.shape[WidthAxis], output.shape[HeightAxis]);
            channels = output.shape[ChannelAxis];

            var planes = output.DownloadToArray();
            var pixels = result.Width * result.Height;
            var answer = new float[pixels * channels];
            for (var i = 0; i < answer.Length; i++)
            {
                var value = planes[i % channels * pixels + i / channels];
                answer[i] = _asset.IsPredictor ? value : Mathf.Clamp01(value);
            }
            return answer;
        }
    }

    /// <summary>Frees the worker and what belongs to it.</summary>
    public override void Dispose() => ReleaseWorker();

    #endregion

    #region Private objects

    const int PictureRank = 4;
    const int StyleInput = 1;
    const int FirstGuide = 1;
    internal const int ChannelAxis = 1;
    internal const int HeightAxis = 2;
    internal const int WidthAxis = 3;

    StyleTransferModel _asset;
    Model _model;
    BackendType _backend;
    Worker _worker;
    PictureExchange _exchange;

    // One for each texture of guides.
    PictureExchange[] _guides;

    // The weights of the styles; null for a network of one.
    Tensor<float> _style;

    // Where layers are recorded before they are given to the GPU; only for compute shaders.
    CommandBuffer _commands;

    // The run under way: null before its picture has arrived; and its output, once all layers are given.
    IEnumerator _layersLeft;
    Tensor<float> _output;
    int _layersGiven;
    bool _asksForNumbers;

    #endregion

    #region Allocate / deallocate

    void AllocateWorker(StyleTransferModel asset, Model model, BackendType backend)
    {
        _asset = asset;
        _model = model;
        _backend = backend;
        _guides = new PictureExchange[asset.GuideInputs.Length];
        _worker = new Worker(model, backend);
        if (backend == BackendType.GPUCompute) _commands = new CommandBuffer { name = "Style Transfer" };
    }

    // A new tensor for each choice: layers of the previous run may still be reading the last one.
    void AllocateStyle(float[] weights)
    {
        var before = _style;
        _style = new Tensor<float>(new TensorShape(1, weights.Length, 1, 1), weights);
        _worker.SetInput(StyleInput, _style);
        if (before != null) before.Dispose();
    }

    void ReleaseWorker()
    {
        ReleaseBuffers();
        if (_style != null) _style.Dispose();
        _style = null;
        if (_commands != null) _commands.Dispose();
        _commands = null;
        if (_worker != null) _worker.Dispose();
        _worker = null;
        _model = null;
        _asset = null;
        _output = null;
    }

    #endregion

    #region Private methods

    // The command buffer is set again for each run: Record leaves another one in the worker.
    IEnumerator Schedule()
    {
        for (var i = 0; i < _guides.Length; i++) _guides[i].EndLoad();
        _exchange.EndLoad();
        return _commands != null
          ? _commands.ScheduleWorkerIterable(_worker, _exchange.Input) : _worker.ScheduleIterable(_exchange.Input);
    }

    bool IsLoaded
    {
        get
        {
            for (var i = 0; i < _guides.Length; i++)
                if (!_guides[i].IsLoaded) return false;
            return _exchange.IsLoaded;
        }
    }

    // A tensor of some of the channels of each pixel, one plane for each.
    Tensor<float> AllocateTensor(float[] values, WorkingSize size, int first, int channels)
    {
        var stride = _asset.InputChannels + _asset.GuideChannels;
        var pixels = size.Width * size.Height;
        var planes = new float[pixels * channels];
        for (var i = 0; i < planes.Length; i++)
            planes[i % channels * pixels + i / channels] = values[i / channels * stride + first + i % channels];
        return new Tensor<float>(new TensorShape(1, channels, size.Height, size.Width), planes);
    }

    // Gives the recorded layer to the GPU.
    void Execute()
    {
        if (_commands == null) return;
        Graphics.ExecuteCommandBuffer(_commands);
        _commands.Clear();
    }

    static string WholeName(string name, string wanted) => name + CutEnd == wanted ? wanted : name;

    const string CutEnd = ":0";

    #endregion
}

}
