using System;
using UnityEngine;
using UnityEngine.Rendering;

namespace StyleTransfer
{

/// <summary>
/// Runs one style network on pictures, with the engine that the project has. It is not a MonoBehaviour: a camera
/// effect, a render pass or your own script can create one.
/// </summary>
/// <remarks>
/// This code allocates no managed memory per frame. The packages do; docs/unity.md of the pipeline says how much.
/// </remarks>
public sealed class StyleTransferRunner : IDisposable
{
    #region Public properties

    /// <summary>The name of the shader that a runner uses if it is given none.</summary>
    public const string ConvertShaderName = PictureConverter.ShaderName;

    /// <summary>The model that this runner runs.</summary>
    public StyleTransferModel Model => _model;

    /// <summary>The worker in use; never <see cref="StyleTransferWorker.Auto"/>.</summary>
    public StyleTransferWorker Worker => _worker;

    /// <summary>Why another worker than the requested one is used; null if the requested one is used.</summary>
    public string WorkerNote => _workerNote;

    /// <summary>The largest number of lines of the network's input. The width follows from the source's aspect ratio.</summary>
    public int TargetHeight { get; set; }

    /// <summary>
    /// Number of frames over which one run of the network is spread; 1 runs it completely in each frame. During a run,
    /// the last finished picture is shown.
    /// </summary>
    public int SpreadFrames { get; set; }

    /// <summary>
    /// Time limit for the network in each frame, in milliseconds; a run takes as many frames as it needs. 0 uses
    /// <see cref="SpreadFrames"/>, and so do GPUs that cannot report when their work is finished.
    /// </summary>
    public float BudgetMilliseconds { get; set; }

    /// <summary>
    /// Whether a frame blocks if a run needs a result from the GPU or from jobs before it can continue, as with CPU
    /// workers. If false, the run continues in a later frame.
    /// </summary>
    public bool Waits { get; set; }

    /// <summary>The style of the next run, for a network with several styles. Until the predictor has processed a new
    /// picture, runs use the previous style.</summary>
    public StyleMix Style { get; set; }

    /// <summary>Whether a style is ready: false only until the predictor has processed the first picture.</summary>
    public bool HasStyle => _vectors == null || _hasStyle || _vectors.Has(Style);

    /// <summary>Whether a whole run can be recorded into the commands of a frame.</summary>
    public bool CanRecord => _network.CanRecord;

    /// <summary>The size of the network's last run, in pixels; 0 x 0 before the first run.</summary>
    public WorkingSize Size => _size;

    /// <summary>The output of the last finished run; null before the first. Valid until the next run or change of size.
    /// </summary>
    public Texture Picture => _stylized;

    /// <summary>Whether a run is under way.</summary>
    public bool IsRunning => _schedule != null && _schedule.IsRunning;

    #endregion

    #region Public methods

    /// <summary>
    /// Loads the network and creates the worker.
    /// </summary>
    /// <param name="model">what to run</param>
    /// <param name="requested">the worker; if not available, another is used, see <see cref="WorkerNote"/></param>
    /// <param name="convertShader">Hidden/StyleTransfer/Convert; null looks it up by its name, which finds it
    /// in a player only if something else references it</param>
    /// <exception cref="InvalidOperationException">the asset is incomplete, no engine of this project runs it, the
    /// imported network is not the one that the asset describes, or the shader is missing; the message says what to
    /// do</exception>
    public StyleTransferRunner
      (StyleTransferModel model, StyleTransferWorker requested = StyleTransferWorker.Auto, Shader convertShader = null)
      : this(NetworkLoad.Start(model), requested, convertShader) {}

    /// <summary>
    /// Takes a network that is being loaded, waits for it if necessary, and creates the worker.
    /// </summary>
    /// <param name="load">what to run; a packed network takes some frames until it is ready</param>
    /// <param name="requested">as above</param>
    /// <param name="convertShader">as above</param>
    /// <exception cref="InvalidOperationException">as above, or the packed file is damaged</exception>
    public StyleTransferRunner(NetworkLoad load, StyleTransferWorker requested, Shader convertShader = null)
    {
        TargetHeight = load.Model.NominalHeight;
        SpreadFrames = 1;
        Waits = true;
        try
        {
            AllocateObjects(load, requested, convertShader);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>
    /// A texture for guides of a network that takes some (<see cref="StyleTransferModel.HasGuides"/>). A component draws
    /// the camera's; a script that uses a runner by itself draws them before <see cref="Stylize"/>, at the size of this
    /// texture, with the channels of <see cref="StyleTransferModel.GuideLayout"/>.
    /// </summary>
    /// <param name="texture">from 0. Valid until the next size, so call <see cref="PrepareSize"/> before</param>
    public RenderTexture GuideInput(int texture) => _network.GuideInput(texture);

    /// <summary>Creates the network's textures for the size of a source, unless they have that size already.</summary>
    public void PrepareSize(int sourceWidth, int sourceHeight) => Prepare(sourceWidth, sourceHeight);

    /// <summary>
    /// Draws the stylised source into the destination, which is always written.
    /// </summary>
    /// <param name="source">the picture, upright, in the project's colour space</param>
    /// <param name="destination">where to draw; null is the screen</param>
    /// <param name="strength">0 is the source, 1 the stylised picture as strong as its asset says, between them a
    /// blend</param>
    public void Stylize(RenderTexture source, RenderTexture destination, float strength)
    {
        if (strength <= 0)
        {
            Graphics.Blit(source, destination);
            return;
        }

        var picture = Prepare(source.width, source.height);
        PrepareStyle(Waits ? 1 : SpreadFrames, Waits ? 0 : BudgetMilliseconds, Waits);
        if (!IsRunning && HasStyle)
        {
            Graphics.Blit(source, picture, _converter.Material, PictureConverter.PassToNetwork);
            Begin();
        }
        if (IsRunning) Advance();

        if (_stylized == null)
        {
            Graphics.Blit(source, destination);
            return;
        }

        _converter.SetFromNetwork(_stylized, strength * _model.Strength, _model.KeepColors, null, false);
        Graphics.Blit(source, destination, _converter.Material, PictureConverter.PassFromNetwork);
    }

    /// <summary>Processes a style picture again whose content has changed, such as a render texture.</summary>
    /// <param name="picture">a picture that was used as a style; others are ignored</param>
    public void RefreshStyle(Texture picture)
    {
        if (_vectors != null) _vectors.Forget(picture);
    }

    /// <summary>
    /// Frees everything, and cancels a run in progress. A second call does nothing.
    /// </summary>
    public void Dispose() => ReleaseObjects();

    #endregion

    #region The steps of a run

    /// <summary>The material that draws the camera's picture onto the texture from <see cref="Prepare"/>.</summary>
    internal Material ToNetwork => _converter.Material;

    /// <summary>
    /// The texture for the network's next picture, to be drawn with <see cref="ToNetwork"/>. A run in progress continues
    /// if the size is still the same, and is cancelled otherwise.
    /// </summary>
    internal RenderTexture Prepare(int sourceWidth, int sourceHeight)
    {
        var size = _model.FitSize(sourceWidth, sourceHeight, TargetHeight);
        if (size.Width != _size.Width || size.Height != _size.Height) AllocateBuffers(size);
        _converter.SetToNetwork(sourceWidth, sourceHeight, size, _model.InputChannels == GreyChannels);
        return _network.Input;
    }

    /// <summary>Runs one frame's share of the predictor, if <see cref="Style"/> needs it.</summary>
    internal void PrepareStyle(int spreadFrames, float milliseconds, bool waits)
    {
        if (_vectors != null) _vectors.Prepare(Style, spreadFrames, milliseconds, waits);
    }

    /// <summary>Begins a run on the picture that was drawn.</summary>
    internal void Begin()
    {
        ApplyStyle();
        _schedule.Begin();
    }

    /// <summary>Runs one frame's share of the network. Returns true when <see cref="Picture"/> is new.</summary>
    internal bool Advance()
    {
        if (!_schedule.Advance(SpreadFrames, BudgetMilliseconds, Waits)) return false;
        _stylized = _network.Finish();
        return true;
    }

    /// <summary>Records a whole run on the picture that earlier commands draw.</summary>
    /// <returns>the output, for later commands</returns>
    internal Texture Record(CommandBuffer commands)
    {
        _schedule.Cancel();
        ApplyStyle();
        return _stylized = _network.Record(commands);
    }

    #endregion

    #region Private objects

    const int GreyChannels = 1;

    StyleTransferModel _model;
    StyleTransferWorker _worker;
    string _workerNote;
    PictureConverter _converter;
    StyleTransferNetwork _network;
    RunSchedule _schedule;
    WorkingSize _size;
    Texture _stylized;

    // A weight for each style of the network; null for a network of one.
    float[] _styleWeights;

    // The styles of a network that takes their numbers, and the numbers of the last run; null for others.
    StyleVectors _vectors;
    float[] _styleNumbers;
    bool _hasStyle;

    #endregion

    // All weights are 0 before the first run, so that it sets them.
    void ApplyStyle()
    {
        if (_styleWeights != null && Style.Write(_styleWeights)) _network.SetStyle(_styleWeights);
        if (_vectors == null || !_vectors.Write(Style, _styleNumbers)) return;
        _network.SetStyle(_styleNumbers);
        _hasStyle = true;
    }

    #region Allocate / deallocate

    void AllocateObjects(NetworkLoad load, StyleTransferWorker requested, Shader convertShader)
    {
        _converter = new PictureConverter(convertShader);
        _model = load.Model;
        _worker = load.Engine.Choose(requested, out _workerNote);
        _network = load.Take(_worker);
        _schedule = new RunSchedule(_network);
        if (_model.HasStyleVectors)
        {
            _vectors = new StyleVectors(_model, requested, convertShader);
            _styleNumbers = new float[_vectors.Length];
        }
        else if (_model.StyleCount > 1)
        {
            _styleWeights = new float[_model.StyleCount];
        }
    }

    void AllocateBuffers(WorkingSize size)
    {
        if (_size.Width > 0) _schedule.Resize((float)size.Width * size.Height / (_size.Width * _size.Height));
        _stylized = null;
        _size = default(WorkingSize);
        _network.AllocateBuffers(size);
        _size = size;
    }

    void ReleaseObjects()
    {
        _stylized = null;
        _size = default(WorkingSize);
        if (_schedule != null) _schedule.Dispose();
        _schedule = null;
        if (_network != null) _network.Dispose();
        _network = null;
        if (_vectors != null) _vectors.Dispose();
        _vectors = null;
        if (_converter != null) _converter.Dispose();
        _converter = null;
    }

    #endregion
}

}
