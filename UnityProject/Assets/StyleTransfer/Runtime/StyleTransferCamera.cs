using System;
using UnityEngine;
using UnityEngine.Rendering;

namespace StyleTransfer
{

/// <summary>
/// Shows a camera's picture in a painter's style, in the built-in render pipeline.
/// </summary>
/// <remarks>
/// Order matters among image effects: put this one after tone mapping, because the network sees colours of
/// 0..1 only.
/// </remarks>
[RequireComponent(typeof(Camera))]
[AddComponentMenu("Style Transfer/Style Transfer Camera")]
public class StyleTransferCamera : MonoBehaviour
{
    #region Editable attributes

    [SerializeField, Tooltip("The style.")]
    StyleTransferModel model = null;

    [SerializeField, Tooltip("Hidden/StyleTransfer/Convert. Referred to here so that players contain it.")]
    Shader convertShader = null;

    [SerializeField, Tooltip("What runs the network. Auto takes the fastest that the machine offers.")]
    StyleTransferWorker worker = StyleTransferWorker.Auto;

    [SerializeField, Tooltip("How many lines the network sees; the width follows the camera's aspect. " +
      "Half the lines cost a quarter of the time.")]
    int targetHeight = DefaultTargetHeight;

    [SerializeField, Tooltip("Off shows the camera's own picture; the network stays loaded.")]
    bool stylize = true;

    [SerializeField, Range(0, 1), Tooltip("Blend of the camera's own picture (0) and the stylised one (1).")]
    float strength = 1;

    [SerializeField, Range(1, MaximumSpreadFrames), Tooltip("Spreads one run of the network over this many " +
      "frames: smoother frame rate, but the style is updated less often and lags behind.")]
    int spreadFrames = 1;

    #endregion

    #region Public properties

    /// <summary>The lines that the tutorials and the nominal size of most networks use.</summary>
    public const int DefaultTargetHeight = 540;

    /// <summary>Over how many frames a run can be spread at most.</summary>
    public const int MaximumSpreadFrames = 16;

    /// <summary>
    /// The style. Setting it while playing loads the other network at the next frame, which takes a moment.
    /// </summary>
    public StyleTransferModel Model
    {
        get => model;
        set => model = value;
    }

    /// <summary>What runs the network. Setting it while playing loads the network again.</summary>
    public StyleTransferWorker Worker
    {
        get => worker;
        set => worker = value;
    }

    /// <summary>How many lines the network sees at most.</summary>
    public int TargetHeight
    {
        get => targetHeight;
        set => targetHeight = Mathf.Max(WorkingSize.SmallestExtent, value);
    }

    /// <summary>Whether the picture is stylised. Off keeps the network loaded.</summary>
    public bool Stylize
    {
        get => stylize;
        set => stylize = value;
    }

    /// <summary>Blend of the camera's own picture (0) and the stylised one (1).</summary>
    public float Strength
    {
        get => strength;
        set => strength = Mathf.Clamp01(value);
    }

    /// <summary>Over how many frames one run of the network is spread, 1 to 16.</summary>
    public int SpreadFrames
    {
        get => spreadFrames;
        set => spreadFrames = Mathf.Clamp(value, 1, MaximumSpreadFrames);
    }

    /// <summary>The runner in use; null while disabled, or if the model could not be loaded.</summary>
    public StyleTransferRunner Runner => _runner;

    #endregion

    #region Private objects

    StyleTransferRunner _runner;

    // Under way while the network is being rebuilt; the camera shows its own picture meanwhile.
    NetworkLoad _load;

    // What _runner was made of, or could not be made of: tried once, not every frame.
    bool _tried;
    StyleTransferModel _triedModel;
    Shader _triedShader;
    StyleTransferWorker _triedWorker;

    #endregion

    #region MonoBehaviour implementation

    /// <summary>Inspector defaults of a newly added component.</summary>
    protected virtual void Reset()
    {
        if (convertShader == null) convertShader = Shader.Find(StyleTransferRunner.ConvertShaderName);
    }

    /// <summary>Keeps what the inspector or a script wrote in range.</summary>
    protected virtual void OnValidate()
    {
        TargetHeight = targetHeight;
        Strength = strength;
        SpreadFrames = spreadFrames;
    }

    /// <summary>Loads the network.</summary>
    protected virtual void OnEnable()
    {
        ReportForeignPipeline();

        // A script that adds the component assigns the model after this: then the first frame loads it.
        if (model != null) AllocateRunner();
    }

    /// <summary>Frees the network.</summary>
    protected virtual void OnDisable()
    {
        ReleaseRunner();
    }

    /// <summary>Called by the built-in render pipeline with the camera's picture.</summary>
    protected virtual void OnRenderImage(RenderTexture source, RenderTexture destination)
    {
        if (!_tried || model != _triedModel || worker != _triedWorker || convertShader != _triedShader)
            AllocateRunner();

        if (_load != null && _load.IsReady) AllocateLoaded();

        if (!stylize || _runner == null)
        {
            Graphics.Blit(source, destination);
            return;
        }

        _runner.TargetHeight = targetHeight;
        _runner.SpreadFrames = spreadFrames;

        try
        {
            _runner.Stylize(source, destination, strength);
        }
        catch (Exception exception)
        {
            ReportFailure(exception);
            Graphics.Blit(source, destination);
        }
    }

    #endregion

    #region Allocate / deallocate

    void AllocateRunner()
    {
        ReleaseRunner();

        _tried = true;
        _triedModel = model;
        _triedShader = convertShader;
        _triedWorker = worker;

        if (model == null)
        {
            Debug.LogWarning("Style Transfer: no model is assigned. Assign the .asset file of a style to the " +
              "Model field.", this);
            return;
        }

        try
        {
            _load = NetworkLoad.Start(model);
        }
        catch (Exception exception)
        {
            Debug.LogError(exception.Message, this);
            return;
        }

        if (_load.IsReady) AllocateLoaded();
    }

    void AllocateLoaded()
    {
        string note;
        var type = WorkerSelection.Resolve(worker, out note);
        if (note != null) Debug.LogWarning("Style Transfer: " + note, this);

        var load = _load;
        _load = null;

        try
        {
            _runner = new StyleTransferRunner(load, type, convertShader);
        }
        catch (Exception exception)
        {
            Debug.LogError(exception.Message, this);
        }
    }

    void ReleaseRunner()
    {
        if (_runner != null) _runner.Dispose();
        _runner = null;
        _load = null;

        _tried = false;
        _triedModel = null;
        _triedShader = null;
        _triedWorker = default(StyleTransferWorker);
    }

    #endregion

    #region Reports

    // The picture goes on unstylised; disabling and enabling the component tries again.
    void ReportFailure(Exception exception)
    {
        Debug.LogError("Style Transfer: '" + _runner.Model.DisplayName + "' failed and is switched off until " +
          "the component is enabled again. " + exception, this);
        _runner.Dispose();
        _runner = null;
    }

    void ReportForeignPipeline()
    {
    #if UNITY_2019_3_OR_NEWER
        var pipeline = GraphicsSettings.currentRenderPipeline;
    #else
        var pipeline = GraphicsSettings.renderPipelineAsset;
    #endif
        if (pipeline == null) return;
        Debug.LogWarning("Style Transfer: this project renders with '" + pipeline.name + "'. URP and HDRP never " +
          "call OnRenderImage, so this component shows nothing there. Draw the camera into a RenderTexture and " +
          "call StyleTransferRunner.Stylize on it, or use the built-in render pipeline.", this);
    }

    #endregion
}

}
