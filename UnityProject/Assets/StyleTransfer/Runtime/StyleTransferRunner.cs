using System;
using UnityEngine;
using Unity.Barracuda;

namespace StyleTransfer
{

/// <summary>
/// Runs one style network on pictures: owns the worker, the tensor and the textures. No MonoBehaviour: a
/// camera effect, a render pipeline's pass or a script of your own can hold one.
/// </summary>
/// <remarks>
/// This code allocates no managed memory per frame. Barracuda does, some kilobytes per layer and run
/// (the enumerator and input lists of GenericWorker, the input's buffer on the GPU).
/// </remarks>
public sealed class StyleTransferRunner : IDisposable
{
    #region Public properties

    /// <summary>The name of the shader that a runner uses if it is given none.</summary>
    public const string ConvertShaderName = PictureConverter.ShaderName;

    /// <summary>What this runner runs.</summary>
    public StyleTransferModel Model => _model;

    /// <summary>What it runs on.</summary>
    public WorkerFactory.Type WorkerType => _type;

    /// <summary>How many lines the network sees at most. The width follows the source's aspect.</summary>
    public int TargetHeight { get; set; }

    /// <summary>
    /// Over how many frames one run of the network is spread; 1 runs it whole in each frame. While a run is
    /// under way, the last finished picture is shown.
    /// </summary>
    public int SpreadFrames { get; set; }

    /// <summary>
    /// What a run may take of each frame, in milliseconds; a run then ends when it ends. 0 goes by
    /// <see cref="SpreadFrames"/>, and so does a GPU that cannot say when its work is done.
    /// </summary>
    public float BudgetMilliseconds { get; set; }

    /// <summary>The size that the network ran at last, in pixels; 0 x 0 before the first run.</summary>
    public WorkingSize Size => _size;

    /// <summary>The picture of the last finished run; null before. Valid until the next run or size.</summary>
    public Texture Picture => _stylized;

    /// <summary>Whether a run is under way.</summary>
    public bool IsRunning => _schedule != null && _schedule.IsRunning;

    #endregion

    #region Public methods

    /// <summary>
    /// Loads the network and creates the worker.
    /// </summary>
    /// <param name="model">what to run</param>
    /// <param name="type">what to run it on, see <see cref="WorkerSelection"/></param>
    /// <param name="convertShader">Hidden/StyleTransfer/Convert; null looks it up by its name, which finds it
    /// in a player only if something else refers to it</param>
    /// <exception cref="InvalidOperationException">the asset is incomplete, the imported network is not the one
    /// that the asset describes, or the shader is missing; the message says what to do</exception>
    public StyleTransferRunner(StyleTransferModel model, WorkerFactory.Type type, Shader convertShader = null)
      : this(NetworkLoad.Start(model), type, convertShader) {}

    /// <summary>
    /// Takes a network that was begun to load, waits for it if need be, and creates the worker.
    /// </summary>
    /// <param name="load">what to run; a packed network takes some frames until it is ready</param>
    /// <param name="type">what to run it on, see <see cref="WorkerSelection"/></param>
    /// <param name="convertShader">as above</param>
    /// <exception cref="InvalidOperationException">as above, or the packed file is damaged</exception>
    public StyleTransferRunner(NetworkLoad load, WorkerFactory.Type type, Shader convertShader = null)
    {
        TargetHeight = load.Model.NominalHeight;
        SpreadFrames = 1;
        try
        {
            AllocateObjects(load, type, convertShader);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>
    /// Draws the stylised source on the destination, which is always written.
    /// </summary>
    /// <param name="source">the picture, upright, in the project's colour space</param>
    /// <param name="destination">where to draw; null is the screen</param>
    /// <param name="strength">0 is the source, 1 the stylised picture, between them a blend</param>
    public void Stylize(RenderTexture source, RenderTexture destination, float strength)
    {
        if (strength <= 0)
        {
            Graphics.Blit(source, destination);
            return;
        }

        var picture = Prepare(source.width, source.height);
        if (!IsRunning)
        {
            Graphics.Blit(source, picture, _converter.Material, PictureConverter.PassToNetwork);
            Begin();
        }
        Advance();

        if (_stylized == null)
        {
            Graphics.Blit(source, destination);
            return;
        }

        _converter.SetFromNetwork(_stylized, strength, null);
        Graphics.Blit(source, destination, _converter.Material, PictureConverter.PassFromNetwork);
    }

    /// <summary>
    /// Frees everything. A second call does nothing. A run under way is given up.
    /// </summary>
    public void Dispose() => ReleaseObjects();

    #endregion

    #region The steps of a run

    /// <summary>What draws the camera's picture on the one that <see cref="Prepare"/> gives.</summary>
    internal Material ToNetwork => _converter.Material;

    /// <summary>
    /// Where to draw the network's next picture, with <see cref="ToNetwork"/>. A run under way goes on if the
    /// size is still the same, and is given up otherwise.
    /// </summary>
    internal RenderTexture Prepare(int sourceWidth, int sourceHeight)
    {
        var size = _model.FitSize(sourceWidth, sourceHeight, TargetHeight);
        if (_exchange == null || size.Width != _size.Width || size.Height != _size.Height)
            AllocateExchange(size);
        _converter.SetToNetwork(sourceWidth, sourceHeight, size);
        return _exchange.Picture;
    }

    /// <summary>Begins a run on what is drawn.</summary>
    internal void Begin()
    {
        _exchange.Load();
        _schedule.Begin(_exchange.Input);
    }

    /// <summary>One frame's share of the run under way. True when <see cref="Picture"/> is a new one.</summary>
    internal bool Advance()
    {
        if (!_schedule.Advance(SpreadFrames, BudgetMilliseconds)) return false;
        _stylized = _exchange.Show(_worker.PeekOutput(_model.OutputName));
        SweepMaterials();
        return true;
    }

    #endregion

    #region Private objects

    StyleTransferModel _model;
    WorkerFactory.Type _type;
    PictureConverter _converter;
    IWorker _worker;
    RunSchedule _schedule;
    TensorExchange _exchange;
    WorkingSize _size;
    Texture _stylized;

    #endregion

    #region Allocate / deallocate

    void AllocateObjects(NetworkLoad load, WorkerFactory.Type type, Shader convertShader)
    {
        _converter = new PictureConverter(convertShader);

        var network = load.Take();
        var mismatch = ModelContract.FindMismatch(load.Model, network);
        if (mismatch != null) throw new InvalidOperationException(mismatch);

        _model = load.Model;
        _type = type;
        _worker = WorkerFactory.CreateWorker(type, network);
        _schedule = new RunSchedule(_worker, type, network.layers.Count);
    }

    void AllocateExchange(WorkingSize size)
    {
        if (_exchange != null) _schedule.Resize((float)size.Width * size.Height / (_size.Width * _size.Height));
        ReleaseExchange();
        _exchange = TensorExchange.Allocate(_type, size, _model.InputChannels);
        _size = size;
    }

    void ReleaseObjects()
    {
        if (_schedule != null) _schedule.Dispose();
        _schedule = null;
        ReleaseExchange();
        if (_worker != null) _worker.Dispose();
        _worker = null;
        if (_converter != null) _converter.Dispose();
        _converter = null;
    }

    void ReleaseExchange()
    {
        _stylized = null;
        if (_exchange != null) _exchange.Dispose();
        _exchange = null;
        _size = default(WorkingSize);
    }

    #endregion

    #region Version differences

#if BARRACUDA_3_OR_NEWER

    // The PixelShader worker of 3.0.0 makes a Material per layer and run and destroys none
    // (BarracudaPixelShader.cs, every operation): without this a player runs out of memory after a while.
    const int RunsBetweenSweeps = 600;

    int _runsSinceSweep;

    void SweepMaterials()
    {
        if (_type != WorkerFactory.Type.PixelShader || ++_runsSinceSweep < RunsBetweenSweeps) return;
        _runsSinceSweep = 0;
        Resources.UnloadUnusedAssets();
    }

#else

    static void SweepMaterials() {}

#endif

    #endregion
}

}
