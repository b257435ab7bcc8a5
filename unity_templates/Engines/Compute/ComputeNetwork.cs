using System;
using Unity.Collections;
using UnityEngine;
using UnityEngine.Rendering;

namespace StyleTransfer.Compute
{

/// <summary>
/// A network compiled into compute shaders: one dispatch after the other, within the frame or spread over frames.
/// </summary>
/// <remarks>
/// Between AllocateBuffers and Dispose no method allocates managed memory, except for buffers if a run begins while
/// another run uses those of the same sizes.
/// </remarks>
public sealed class ComputeNetwork : StyleTransferNetwork
{
    #region StyleTransferNetwork implementation

    /// <summary>Creates a network from a plan and its kernels.</summary>
    /// <param name="plan">the plan to run</param>
    /// <param name="kernels">the compute shader that was built with it</param>
    /// <exception cref="InvalidOperationException">the shader does not have the kernels of the plan</exception>
    public ComputeNetwork(ComputePlan plan, ComputeShader kernels) => AllocateObjects(plan, kernels);

    /// <summary>The properties of the network, from the plan.</summary>
    public override NetworkDescription Describe()
    {
        // Plans run at any size.
        var description = new NetworkDescription { Channels = _plan.InputChannels };
        description.Inputs.Add(_plan.InputName);
        foreach (var guide in _plan.Guides) description.Inputs.Add(guide);
        description.Outputs.Add(_plan.OutputName);
        if (_plan.Metadata.Count > 0) description.Metadata = _plan.Metadata;
        return description;
    }

    /// <summary>The dispatches of the plan.</summary>
    public override int LayerCount => _plan.Dispatches.Length;

    /// <summary>Always false: compute shaders run on the GPU.</summary>
    public override bool ComputesOnCpu => false;

    /// <summary>Creates the textures for a size, and the constants of all dispatches.</summary>
    public override void AllocateBuffers(WorkingSize size)
    {
        ReleaseBuffers();
        _size = size;
        _sizes = new ComputeConstants(_plan, size.Height, size.Width);
        _needs = new ComputeBuffers.Needs(_plan, _sizes);
        FillConstants(true);
        for (var i = 0; i < _textures.Length; i++)
            _textures[i] = Textures.AllocateTarget(size.Width, size.Height, Textures.PreciseFormat, false);
        if (!_plan.NumbersOut)
            _painted = Textures.AllocateTarget
              (_sizes.WidthOf(_plan.Result), _sizes.HeightOf(_plan.Result), Textures.PreciseFormat, true);
        ComputeBuffers.AddUser(_needs);
        _isUser = true;
    }

    /// <summary>Frees them.</summary>
    public override void ReleaseBuffers()
    {
        EndRun();
        if (_isUser) ComputeBuffers.RemoveUser(_needs);
        _isUser = false;
        Textures.Release(_painted);
        _painted = null;
        for (var i = _textures.Length - 1; i >= 0; i--)
        {
            Textures.Release(_textures[i]);
            _textures[i] = null;
        }
        _sizes = null;
        _needs = null;
    }

    /// <summary>Where to draw the picture.</summary>
    public override RenderTexture Input => _textures[ComputePlan.Picture];

    /// <summary>Where to draw guides.</summary>
    public override RenderTexture GuideInput(int texture) => _textures[FirstGuide + texture];

    /// <summary>Mixes the weights of the styles, or computes those of a style vector, and uploads those that differ.
    /// </summary>
    public override void SetStyle(float[] weights)
    {
        for (var i = 0; i < _plan.Styles.Length; i++)
        {
            _plan.Styles[i].Mix(weights, _mixed);
            Upload(_plan.Styles[i].Weight);
        }
        for (var i = 0; i < _plan.VectorWeights.Length; i++)
        {
            _plan.VectorWeights[i].Apply(weights, _mixed);
            Upload(_plan.VectorWeights[i].Weight);
        }
    }

    /// <summary>Reads the style vector of the finished run from the GPU.</summary>
    public override bool FinishNumbers(float[] numbers, bool waits)
    {
        var asks = SystemInfo.supportsAsyncGPUReadback && !waits;
        if (asks && !_isAsking)
        {
            _request = AsyncGPUReadback.Request(_buffers.Slots[SlotOf(_plan.Result)]);
            _isAsking = true;
        }
        if (asks && !_request.done) return false;

        if (asks && !_request.hasError)
            NativeArray<float>.Copy(_request.GetData<float>(), numbers, numbers.Length);
        else
            _buffers.Slots[SlotOf(_plan.Result)].GetData(numbers, 0, 0, numbers.Length);
        EndRun();
        return true;
    }

    /// <summary>Begins a run: takes buffers for it.</summary>
    public override void Begin()
    {
        EndRun();
        _buffers = ComputeBuffers.Take(_needs);
    }

    /// <summary>Issues one dispatch.</summary>
    public override bool RunLayer()
    {
        if (_next >= _plan.Dispatches.Length) return false;

        _commands.Clear();
        Record(_commands, _next, _textures, _painted);
        Graphics.ExecuteCommandBuffer(_commands);
        _next++;
        return true;
    }

    /// <summary>The share of the dispatches that have been issued.</summary>
    public override float Progress => (float)_next / _plan.Dispatches.Length;

    /// <summary>The output picture, written by the last kernel.</summary>
    public override Texture Finish()
    {
        EndRun();
        return _painted;
    }

    /// <summary>Always true: dispatches are commands.</summary>
    public override bool CanRecord => true;

    /// <summary>Records all dispatches.</summary>
    public override Texture Record(CommandBuffer commands)
    {
        // The GPU runs commands in order, so the next user of the buffers comes after this run.
        Begin();
        for (var i = 0; i < _plan.Dispatches.Length; i++) Record(commands, i, _textures, _painted);
        EndRun();
        return _painted;
    }

    /// <summary>Runs the network on an array, through textures of full precision, or through buffers for vectors.</summary>
    public override float[] Compute(float[] values, WorkingSize size, out WorkingSize result, out int channels)
    {
        channels = _plan.OutputChannels;
        if (_plan.NumbersIn >= 0)
        {
            result = size;
            return ComputeVector(values, size);
        }

        var before = _isUser ? _size : default(WorkingSize);
        AllocateBuffers(size);
        var painted = _plan.NumbersOut ? null
          : Textures.AllocateTarget(_painted.width, _painted.height, RenderTextureFormat.ARGBFloat, true);
        var pictures = new Texture[_textures.Length];
        try
        {
            AllocatePictures(values, size, pictures);
            FillConstants(false);
            Begin();
            RunDispatches(pictures, painted);
            result = _plan.NumbersOut ? new WorkingSize(1, 1) : new WorkingSize(painted.width, painted.height);
            return _plan.NumbersOut ? AllocateNumbers(channels) : AllocateValues(painted, channels);
        }
        finally
        {
            foreach (var picture in pictures) Textures.Release(picture);
            Textures.Release(painted);
            ReleaseBuffers();
            if (before.Width > 0) AllocateBuffers(before);
        }
    }

    /// <summary>Frees everything.</summary>
    public override void Dispose() => ReleaseObjects();

    #endregion

    #region Private objects

    static readonly int s_Shape = Shader.PropertyToID("_Shape");
    static readonly int s_Real = Shader.PropertyToID("_Real");
    static readonly int s_Weights = Shader.PropertyToID("_Weights");
    static readonly int s_Tables = Shader.PropertyToID("_Tables");
    static readonly int s_NewTables = Shader.PropertyToID("_NewTables");
    static readonly int s_Tiles = Shader.PropertyToID("_Tiles");
    static readonly int s_Partials = Shader.PropertyToID("_Partials");
    static readonly int s_SourceA = Shader.PropertyToID("_SourceA");
    static readonly int s_SourceB = Shader.PropertyToID("_SourceB");
    static readonly int s_Output = Shader.PropertyToID("_Output");
    static readonly int s_Kept = Shader.PropertyToID("_Kept");
    static readonly int s_Picture = Shader.PropertyToID("_Picture");
    static readonly int s_Painted = Shader.PropertyToID("_Painted");

    static readonly float[] s_Zeros = new float[PixelChannels];

    const int WeightStride = 16;
    const int ColorChannels = 3;
    const int PixelChannels = 4;
    const int FirstGuide = 1;

    ComputePlan _plan;
    ComputeShader _kernels;
    int[] _kernelOf;
    ComputeBuffer _weights;

    // For a network whose style can be set: the content of _weights, and the numbers of one weight before layout.
    float[] _numbers, _mixed;
    CommandBuffer _commands;

    // For each dispatch, at the size of AllocateBuffers.
    int[][] _shapes;
    float[][] _reals;
    int[] _groups;

    // The picture, and textures of guides, by their numbers among the values.
    RenderTexture[] _textures;

    WorkingSize _size;
    ComputeConstants _sizes;
    ComputeBuffers.Needs _needs;
    RenderTexture _painted;
    bool _isUser;

    // Of the run under way.
    ComputeBuffers _buffers;
    int _next;

    // Of a predictor: the copy of its style vector from the GPU.
    AsyncGPUReadbackRequest _request;
    bool _isAsking;

    #endregion

    #region Allocate / deallocate

    void AllocateObjects(ComputePlan plan, ComputeShader kernels)
    {
        _plan = plan;
        _kernels = kernels;
        _textures = new RenderTexture[FirstGuide + plan.Guides.Length];
        _kernelOf = new int[plan.Kernels.Length];
        for (var i = 0; i < _kernelOf.Length; i++)
        {
            var name = plan.Kernels[i].Name;
            if (!kernels.HasKernel(name))
                throw new InvalidOperationException("The compute shader " + kernels.name + " has no kernel " + name +
                  " that the network needs: the .compute and .bytes files are from different builds. Build the style " +
                  "again.");
            _kernelOf[i] = kernels.FindKernel(name);
        }

        var dispatches = plan.Dispatches.Length;
        _shapes = new int[dispatches][];
        _reals = new float[dispatches][];
        _groups = new int[3 * dispatches];
        for (var i = 0; i < dispatches; i++)
        {
            _shapes[i] = new int[ComputeConstants.ShapeNumbers];
            _reals[i] = new float[ComputeConstants.RealNumbers];
        }
        _commands = new CommandBuffer { name = "Style Transfer" };
        var weights = ComputeWeights.LayOut(plan);
        _weights = new ComputeBuffer(weights.Length / PixelChannels, WeightStride);
        _weights.SetData(weights);
        if (plan.Styles.Length == 0 && plan.VectorWeights.Length == 0) return;

        _numbers = weights;
        var longest = 0;
        foreach (var style in plan.Styles) longest = Math.Max(longest, plan.Weights[style.Weight].Data.Length);
        foreach (var weight in plan.VectorWeights)
            longest = Math.Max(longest, plan.Weights[weight.Weight].Data.Length);
        _mixed = new float[longest];
    }

    void ReleaseObjects()
    {
        ReleaseBuffers();
        if (_weights != null) _weights.Release();
        _weights = null;
        if (_commands != null) _commands.Dispose();
        _commands = null;
    }

    void EndRun()
    {
        ComputeBuffers.GiveBack(_buffers);
        _buffers = null;
        _next = 0;
        _isAsking = false;
    }

    void FillConstants(bool flip)
    {
        for (var i = 0; i < _plan.Dispatches.Length; i++)
        {
            var dispatch = _plan.Dispatches[i];
            _sizes.Fill(dispatch, flip, _shapes[i], _reals[i]);
            _sizes.FindGroups(dispatch, out _groups[3 * i], out _groups[3 * i + 1], out _groups[3 * i + 2]);
        }
    }

    #endregion

    #region Recording

    // What a kernel does not use is ignored: the same names are set for all.
    void Record(CommandBuffer commands, int number, Texture[] pictures, RenderTexture painted)
    {
        var dispatch = _plan.Dispatches[number];
        var kernel = _kernelOf[dispatch.Kernel];
        commands.SetComputeIntParams(_kernels, s_Shape, _shapes[number]);
        commands.SetComputeFloatParams(_kernels, s_Real, _reals[number]);
        commands.SetComputeBufferParam(_kernels, kernel, s_Weights, _weights);
        if (dispatch.Of >= 0 || dispatch.Grid == ComputePlan.Grid.Threads)
        {
            commands.SetComputeBufferParam(_kernels, kernel, s_Tiles, _buffers.Partials);
            commands.SetComputeBufferParam(_kernels, kernel, s_NewTables, _buffers.Tables);
        }
        else
        {
            commands.SetComputeBufferParam(_kernels, kernel, s_Tables, _buffers.Tables);
            commands.SetComputeBufferParam(_kernels, kernel, s_Partials, _buffers.Partials);
        }
        Set(commands, kernel, s_SourceA, dispatch.First);
        Set(commands, kernel, s_SourceB, dispatch.Second);
        Set(commands, kernel, s_Kept, dispatch.Kept);
        if (_plan.IsTexture(dispatch.First))
            commands.SetComputeTextureParam(_kernels, kernel, s_Picture, pictures[dispatch.First]);
        else if (dispatch.Second == ComputePlan.Picture)
            commands.SetComputeTextureParam(_kernels, kernel, s_Picture, pictures[ComputePlan.Picture]);
        if (dispatch.Output == _plan.Result && !_plan.NumbersOut)
            commands.SetComputeTextureParam(_kernels, kernel, s_Painted, painted);
        else
            Set(commands, kernel, s_Output, dispatch.Output);

        commands.DispatchCompute
          (_kernels, kernel, _groups[3 * number], _groups[3 * number + 1], _groups[3 * number + 2]);
    }

    void Set(CommandBuffer commands, int kernel, int name, int value)
    {
        if (value <= ComputePlan.Picture) return;
        var slot = SlotOf(value);
        if (slot >= 0) commands.SetComputeBufferParam(_kernels, kernel, name, _buffers.Slots[slot]);
    }

    int SlotOf(int value) => _plan.Values[_plan.Values[value].Root].Slot;

    #endregion

    #region Numbers

    // The part of the weight buffer that a weight occupies, with the numbers in _mixed.
    void Upload(int weight)
    {
        int first, count;
        ComputeWeights.LayOut(_plan.Weights[weight], _mixed, _numbers, out first, out count);
        _weights.SetData(_numbers, first, first, count);
    }

    void RunDispatches(Texture[] pictures, RenderTexture painted)
    {
        for (_next = 0; _next < _plan.Dispatches.Length; _next++)
        {
            _commands.Clear();
            Record(_commands, _next, pictures, painted);
            Graphics.ExecuteCommandBuffer(_commands);
        }
    }

    // The buffers stay allocated until Dispose: a style vector may be computed again every frame.
    float[] ComputeVector(float[] values, WorkingSize size)
    {
        if (!_isUser) AllocateBuffers(size);
        Begin();

        // Channels that fill up the last element are 0, also if another network has used the buffer.
        var input = _buffers.Slots[SlotOf(_plan.NumbersIn)];
        input.SetData(s_Zeros, 0, (values.Length - 1) / PixelChannels * PixelChannels, PixelChannels);
        input.SetData(values);
        RunDispatches(_textures, _painted);
        var numbers = AllocateNumbers(_plan.OutputChannels);
        EndRun();
        return numbers;
    }

    float[] AllocateNumbers(int count)
    {
        var numbers = new float[count];
        _buffers.Slots[SlotOf(_plan.Result)].GetData(numbers, 0, 0, count);
        return numbers;
    }

    // The channels of the guides come after those of the picture, pixel by pixel.
    void AllocatePictures(float[] values, WorkingSize size, Texture[] pictures)
    {
        var first = 0;
        for (var i = 0; i < pictures.Length; i++)
        {
            var channels = i < FirstGuide ? _plan.InputChannels : _plan.Values[i].Channels;
            pictures[i] = AllocatePicture(values, size, first, channels);
            first += channels;
        }
    }

    Texture2D AllocatePicture(float[] values, WorkingSize size, int first, int channels)
    {
        var stride = _plan.AllInputChannels;
        var pixels = new Color[size.Width * size.Height];
        for (var i = 0; i < pixels.Length; i++)
        {
            var at = i * stride + first;
            for (var channel = 0; channel < Math.Max(channels, ColorChannels); channel++)
                pixels[i][channel] = channels == 1 ? values[at] : channel < channels ? values[at + channel] : 0;
        }
        var picture = new Texture2D(size.Width, size.Height, TextureFormat.RGBAFloat, false, true);
        picture.SetPixels(pixels);
        picture.Apply(false);
        return picture;
    }

    static float[] AllocateValues(RenderTexture painted, int channels)
    {
        var readback = new Texture2D(painted.width, painted.height, TextureFormat.RGBAFloat, false, true);
        var active = RenderTexture.active;
        RenderTexture.active = painted;
        readback.ReadPixels(new Rect(0, 0, painted.width, painted.height), 0, 0, false);
        RenderTexture.active = active;

        var pixels = readback.GetPixels();
        Textures.Release(readback);
        var values = new float[pixels.Length * channels];
        for (var i = 0; i < pixels.Length; i++)
        {
            values[i * channels] = pixels[i].r;
            if (channels != ColorChannels) continue;
            values[i * channels + 1] = pixels[i].g;
            values[i * channels + 2] = pixels[i].b;
        }
        return values;
    }

    #endregion
}

}
