using System;
using System.Collections;
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
    public const string ConvertShaderName = "Hidden/StyleTransfer/Convert";

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

    /// <summary>The size that the network ran at last, in pixels; 0 x 0 before the first run.</summary>
    public WorkingSize Size => _size;

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
    {
        TargetHeight = model.NominalHeight;
        SpreadFrames = 1;
        try
        {
            AllocateObjects(model, type, convertShader);
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

        Resize(source);
        Run(source);

        if (_stylized == null)
            Graphics.Blit(source, destination);
        else
            DrawResult(source, destination, strength);
    }

    /// <summary>
    /// Frees everything. A second call does nothing.
    /// </summary>
    public void Dispose() => ReleaseObjects();

    #endregion

    #region Private objects

    StyleTransferModel _model;
    WorkerFactory.Type _type;
    Material _material;
    IWorker _worker;
    TensorExchange _exchange;
    WorkingSize _size;
    IEnumerator _schedule;
    int _scheduledFrames;
    Texture _stylized;

    #endregion

    #region Allocate / deallocate

    void AllocateObjects(StyleTransferModel model, WorkerFactory.Type type, Shader convertShader)
    {
        if (model.Model == null)
            throw new InvalidOperationException("Style transfer model '" + model.DisplayName +
              "' has no network. Check that the .onnx file lies beside the asset and was imported without errors.");

        var shader = convertShader != null ? convertShader : Shader.Find(ConvertShaderName);
        if (shader == null)
            throw new InvalidOperationException("The shader " + ConvertShaderName + " is missing. Assign " +
              "Runtime/Shaders/StyleTransferConvert.shader to the Convert Shader field of the component.");

        var network = ModelLoader.Load(model.Model);
        var mismatch = ModelContract.FindMismatch(model, network);
        if (mismatch != null) throw new InvalidOperationException(mismatch);

        _model = model;
        _type = type;
        _material = new Material(shader);
        _material.hideFlags = HideFlags.HideAndDontSave;
        _worker = WorkerFactory.CreateWorker(type, network);
    }

    void AllocateExchange(WorkingSize size)
    {
        ReleaseExchange();
        _exchange = TensorExchange.Allocate(_type, size, _model.InputChannels);
        _size = size;
    }

    void ReleaseObjects()
    {
        ReleaseExchange();
        if (_worker != null) _worker.Dispose();
        _worker = null;
        Textures.Release(_material);
        _material = null;
    }

    void ReleaseExchange()
    {
        _schedule = null;
        _stylized = null;
        if (_exchange != null) _exchange.Dispose();
        _exchange = null;
        _size = default(WorkingSize);
    }

    #endregion

    #region Inference

    void Resize(RenderTexture source)
    {
        var size = _model.FitSize(source.width, source.height, TargetHeight);
        if (_exchange == null || size.Width != _size.Width || size.Height != _size.Height)
            AllocateExchange(size);
    }

    void Run(RenderTexture source)
    {
        if (_schedule == null)
        {
            DrawPicture(source);
            _exchange.Load();

            if (SpreadFrames <= 1)
            {
                _worker.Execute(_exchange.Input);
                Finish();
                return;
            }

            _schedule = _worker.StartManualSchedule(_exchange.Input);
            _scheduledFrames = 0;
        }

        if (Advance()) Finish();
    }

    // One frame's share of the layers. True when the last one has run.
    bool Advance()
    {
        _scheduledFrames++;
        var last = _scheduledFrames >= SpreadFrames;
        var goal = (float)_scheduledFrames / Mathf.Max(1, SpreadFrames);

        while (_schedule.MoveNext())
            if (!last && _worker.scheduleProgress >= goal) return false;

        return true;
    }

    void Finish()
    {
        _schedule = null;
        _stylized = _exchange.Show(_worker.PeekOutput(_model.OutputName));
        SweepMaterials();
    }

    #endregion

    #region Drawing

    // Passes and properties of StyleTransferConvert.shader.
    const int PassToNetwork = 0;
    const int PassFromNetwork = 1;

    static readonly int StylizedId = Shader.PropertyToID("_Stylized");
    static readonly int StrengthId = Shader.PropertyToID("_Strength");
    static readonly int TapOffsetId = Shader.PropertyToID("_TapOffset");
    static readonly int LinearProjectId = Shader.PropertyToID("_LinearProject");

    // Four bilinear taps at a quarter of the new pixel around its middle: an exact box filter for a reduction
    // by two and by four. Without a reduction they meet in the middle.
    const float QuarterPixel = 0.25f;

    void DrawPicture(RenderTexture source)
    {
        SetColorSpace();
        _material.SetVector(TapOffsetId, new Vector4
          (TapOffset(source.width, _size.Width), TapOffset(source.height, _size.Height), 0, 0));
        Graphics.Blit(source, _exchange.Picture, _material, PassToNetwork);
    }

    void DrawResult(RenderTexture source, RenderTexture destination, float strength)
    {
        SetColorSpace();
        _material.SetTexture(StylizedId, _stylized);
        _material.SetFloat(StrengthId, Mathf.Clamp01(strength));
        Graphics.Blit(source, destination, _material, PassFromNetwork);
    }

    // The network sees and gives sRGB values. Barracuda never converts (no version reads or writes sRGB).
    void SetColorSpace()
      => _material.SetFloat(LinearProjectId, QualitySettings.activeColorSpace == ColorSpace.Linear ? 1 : 0);

    static float TapOffset(int sourceExtent, int extent)
      => QuarterPixel * Mathf.Clamp01((float)sourceExtent / extent - 1) / extent;

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
