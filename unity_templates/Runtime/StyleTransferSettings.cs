using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// What can be set of a style on a camera. Everything may be changed while playing.
/// </summary>
public abstract class StyleTransferSettings : MonoBehaviour
{
    #region Editable attributes

    [Header("Style")]

    [SerializeField, Tooltip("The style that is shown.")]
    StyleTransferModel model = null;

    [SerializeField, Tooltip("Which style, of a network that has several; from 0.")]
    int styleNumber = 0;

    [SerializeField, Tooltip("Another of its styles, to blend in.")]
    int secondStyle = 0;

    [SerializeField, Range(0, 1), Tooltip("Blend of the two styles of one network: 0 is the first, 1 the second.")]
    float styleBlend = 0;

    [SerializeField, Tooltip("A picture as the style instead of Style Number, for networks that were built with " +
      "--style-input.")]
    Texture stylePicture = null;

    [SerializeField, Tooltip("A picture instead of Second Style, to blend in.")]
    Texture secondStylePicture = null;

    [SerializeField, Tooltip("Styles to choose from with SwitchTo and NextStyle; may be empty.")]
    StyleTransferModel[] styles = new StyleTransferModel[0];

    [SerializeField, Tooltip("Keeps all networks of the list above loaded, so that switching loads nothing.")]
    bool preloadStyles = true;

    [SerializeField, Tooltip("Off shows the camera's own picture; the network stays loaded.")]
    bool stylize = true;

    [SerializeField, Range(0, 1), Tooltip("Blend of the camera's own picture (0) and the stylised one (1).")]
    float strength = 1;

    [SerializeField, Range(0, 1), Tooltip("Share of the camera's own colours: 0 shows the style's, 1 takes only " +
      "the brightness from the style. Added to what the style itself keeps.")]
    float keepColors = 0;

    [SerializeField, Tooltip("Objects on these layers are stylised, the others are shown as they are.")]
    LayerMask stylizedLayers = -1;

    [SerializeField, Tooltip("A network that gives a mask, built with --mask: the style is shown at its subject " +
      "only. None shows it everywhere.")]
    StyleTransferModel maskModel = null;

    [SerializeField, Tooltip("Shows the style in the background of that mask instead.")]
    bool invertMask = false;

    [Header("Network")]

    [SerializeField, Tooltip("What runs the network. Auto takes the fastest that the machine offers.")]
    StyleTransferWorker worker = StyleTransferWorker.Auto;

    [SerializeField, Tooltip("How many lines the network sees; the width follows the camera's aspect. " +
      "Half the lines cost a quarter of the time.")]
    int targetHeight = DefaultTargetHeight;

    [Header("Frame rate")]

    [SerializeField, Range(1, MaximumFrames), Tooltip("Runs the network on every n-th frame; between its " +
      "pictures, the last one is moved along with the scene.")]
    int runEveryFrames = 1;

    [SerializeField, Range(1, MaximumFrames), Tooltip("Spreads one run of the network over this many " +
      "frames: smoother frame rate, but the style is updated less often.")]
    int spreadFrames = 1;

    [SerializeField, Range(0, MaximumBudget), Tooltip("What a run may take of each frame, in milliseconds; it " +
      "is spread over as many frames as it needs. 0 goes by the number of frames above.")]
    float budgetMilliseconds = 0;

    [SerializeField, Range(0, MaximumFrameRate), Tooltip("Lowers the network's resolution as far as needed to " +
      "hold this many frames per second, and raises it again. 0 keeps the resolution.")]
    int targetFrameRate = 0;

    [SerializeField, Tooltip("The fewest lines that the resolution is lowered to.")]
    int minimumHeight = DefaultMinimumHeight;

    [SerializeField, Tooltip("Moves the last picture of the network along with the scene, by motion vectors and " +
      "depth, until the next one is there. Off shows it where it was.")]
    bool reproject = true;

    [SerializeField, Tooltip("Shows frames between two pictures of the network, blended from one to the other, instead " +
      "of the last one moved along: no jumps, but the game is seen late, by Run Every Frames and the frames that a run " +
      "takes, and what belongs to these frames is kept: 90 MB at 960x540 with Run Every Frames 6. Needs Reproject.")]
    bool interpolate = false;

    [SerializeField, Range(0, MaximumStability), Tooltip("Calms flicker: the share of what was shown of the same " +
      "surface in the frame before. Softens the picture; needs Reproject.")]
    float stability = 0;

    [Header("Editor")]

    [SerializeField, Tooltip("Shows the style in the Game view without Play, whenever the editor draws it.")]
    bool previewInEditMode = false;

    [SerializeField, Tooltip("Shows the style in the Scene view too, in edit mode, and draws that ten times a second.")]
    bool previewInSceneView = false;

    [Header("Shaders (referred to here so that players contain them)")]

    [SerializeField, Tooltip("Hidden/StyleTransfer/Convert")]
    Shader convertShader = null;

    [SerializeField, Tooltip("Hidden/StyleTransfer/Motion")]
    Shader motionShader = null;

    [SerializeField, Tooltip("Hidden/StyleTransfer/Mask")]
    Shader maskShader = null;

    #endregion

    #region Private objects

    float _volumeStrength = 1;
    float _volumeKeepColors;
    StyleTransferModel _volumeModel;
    int _volumeLayers = EveryLayer;
    StyleMix _volumeMix = NoMix;

    #endregion

    #region Constants

    /// <summary>The lines that the tutorials and the nominal size of most networks use.</summary>
    public const int DefaultTargetHeight = 540;

    /// <summary>Below this, a style shows little of the scene.</summary>
    public const int DefaultMinimumHeight = 180;

    /// <summary>Over how many frames a run can be spread, and how seldom the network can run.</summary>
    public const int MaximumFrames = 16;

    /// <summary>The largest budget, in milliseconds: two frames at 60 Hz.</summary>
    public const float MaximumBudget = 33;

    /// <summary>The largest share of the frame before: half of a change is shown after 13 frames.</summary>
    public const float MaximumStability = 0.95f;

    /// <summary>The highest frame rate that can be asked for.</summary>
    public const int MaximumFrameRate = 240;

    const int EveryLayer = -1;

    /// <summary>What volumes give to <see cref="SetStyleOverride"/> to leave the camera's own styles.</summary>
    public static readonly StyleMix NoMix = new StyleMix(-1, -1, 0);

    #endregion

    #region Public properties

    /// <summary>
    /// The style that is shown. Setting it while playing shows the old one until the first picture of the new
    /// one is finished.
    /// </summary>
    public StyleTransferModel Model
    {
        get => model;
        set => model = value;
    }

    /// <summary>Which style, of a network that has several; from 0.</summary>
    public int StyleNumber
    {
        get => styleNumber;
        set => styleNumber = Mathf.Max(0, value);
    }

    /// <summary>Another style of the same network, to blend in.</summary>
    public int SecondStyle
    {
        get => secondStyle;
        set => secondStyle = Mathf.Max(0, value);
    }

    /// <summary>Blend of <see cref="StyleNumber"/> (0) and <see cref="SecondStyle"/> (1).</summary>
    public float StyleBlend
    {
        get => styleBlend;
        set => styleBlend = Mathf.Clamp01(value);
    }

    /// <summary>A picture as the style instead of <see cref="StyleNumber"/>, for a network that takes such; null for none.
    /// Setting it while playing shows the style before until the predictor has seen it, some frames.</summary>
    public Texture StylePicture
    {
        get => stylePicture;
        set => stylePicture = value;
    }

    /// <summary>A picture instead of <see cref="SecondStyle"/>; null for none.</summary>
    public Texture SecondStylePicture
    {
        get => secondStylePicture;
        set => secondStylePicture = value;
    }

    /// <summary>A vector as the style instead of <see cref="StyleNumber"/>, for a network that takes such; null for none.
    /// Not serialised.</summary>
    public float[] StyleVector { get; set; }

    /// <summary>A vector instead of <see cref="SecondStyle"/>; null for none. Not serialised.</summary>
    public float[] SecondStyleVector { get; set; }

    /// <summary>Styles to choose from; never null.</summary>
    public StyleTransferModel[] Styles
    {
        get => styles;
        set => styles = value ?? new StyleTransferModel[0];
    }

    /// <summary>Whether all of <see cref="Styles"/> are kept loaded.</summary>
    public bool PreloadStyles
    {
        get => preloadStyles;
        set => preloadStyles = value;
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

    /// <summary>Share of the camera's own colours, 0 to 1.</summary>
    public float KeepColors
    {
        get => keepColors;
        set => keepColors = Mathf.Clamp01(value);
    }

    /// <summary>A network whose mask says where the style is shown; null is everywhere.</summary>
    public StyleTransferModel MaskModel
    {
        get => maskModel;
        set => maskModel = value;
    }

    /// <summary>Whether the style is shown where that mask is 0.</summary>
    public bool InvertMask
    {
        get => invertMask;
        set => invertMask = value;
    }

    /// <summary>The layers of the objects that are stylised.</summary>
    public LayerMask StylizedLayers
    {
        get => stylizedLayers;
        set => stylizedLayers = value;
    }

    /// <summary>What runs the network. Setting it while playing loads the networks again.</summary>
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

    /// <summary>The network runs on every so many-th frame, 1 to 16.</summary>
    public int RunEveryFrames
    {
        get => runEveryFrames;
        set => runEveryFrames = Mathf.Clamp(value, 1, MaximumFrames);
    }

    /// <summary>Over how many frames one run of the network is spread, 1 to 16.</summary>
    public int SpreadFrames
    {
        get => spreadFrames;
        set => spreadFrames = Mathf.Clamp(value, 1, MaximumFrames);
    }

    /// <summary>What a run may take of each frame, in milliseconds; 0 goes by <see cref="SpreadFrames"/>.</summary>
    public float BudgetMilliseconds
    {
        get => budgetMilliseconds;
        set => budgetMilliseconds = Mathf.Clamp(value, 0, MaximumBudget);
    }

    /// <summary>The frame rate that the network's resolution is lowered for; 0 keeps the resolution.</summary>
    public int TargetFrameRate
    {
        get => targetFrameRate;
        set => targetFrameRate = Mathf.Clamp(value, 0, MaximumFrameRate);
    }

    /// <summary>The fewest lines that the resolution is lowered to.</summary>
    public int MinimumHeight
    {
        get => minimumHeight;
        set => minimumHeight = Mathf.Max(WorkingSize.SmallestExtent, value);
    }

    /// <summary>Whether the last picture is moved along with the scene until the next one is there.</summary>
    public bool Reproject
    {
        get => reproject;
        set => reproject = value;
    }

    /// <summary>Whether frames are shown late, between two pictures of the network, instead of moving the last one along.
    /// </summary>
    public bool Interpolate
    {
        get => interpolate;
        set => interpolate = value;
    }

    /// <summary>The share of the frame before, 0 to 0.95; calms flicker.</summary>
    public float Stability
    {
        get => stability;
        set => stability = Mathf.Clamp(value, 0, MaximumStability);
    }

    /// <summary>Whether the style is shown in the editor's Game view without Play.</summary>
    public bool PreviewInEditMode
    {
        get => previewInEditMode;
        set => previewInEditMode = value;
    }

    /// <summary>Whether the style is shown in the editor's Scene view without Play.</summary>
    public bool PreviewInSceneView
    {
        get => previewInSceneView;
        set => previewInSceneView = value;
    }

    /// <summary>Hidden/StyleTransfer/Convert; null looks it up.</summary>
    public Shader ConvertShader => convertShader;

    /// <summary>Hidden/StyleTransfer/Motion; null looks it up.</summary>
    public Shader MotionShader => motionShader;

    /// <summary>Hidden/StyleTransfer/Mask; null looks it up.</summary>
    public Shader MaskShader => maskShader;

    /// <summary>The style to show now: a volume's, else <see cref="Model"/>.</summary>
    public StyleTransferModel CurrentModel => _volumeModel != null ? _volumeModel : model;

    /// <summary>The styles of one network now: a volume's, else the camera's.</summary>
    public StyleMix CurrentMix
      => _volumeMix.Style >= 0 || _volumeMix.Picture != null ? _volumeMix
         : new StyleMix(styleNumber, secondStyle, styleBlend)
           {
               Picture = stylePicture, SecondPicture = secondStylePicture,
               Vector = StyleVector, SecondVector = SecondStyleVector
           };

    /// <summary>The strength now: <see cref="Strength"/>, multiplied by the volumes'.</summary>
    public float CurrentStrength => strength * _volumeStrength;

    /// <summary>The share of the camera's own colours now: each of <see cref="KeepColors"/>, the volumes' and the
    /// style's keeps its share of what the others leave to the style.</summary>
    /// <param name="style">the style that is shown; may be null</param>
    public float CurrentKeepColors(StyleTransferModel style)
      => 1 - (1 - keepColors) * (1 - _volumeKeepColors) * (1 - (style != null ? style.KeepColors : 0));

    /// <summary>The layers now: of <see cref="StylizedLayers"/> those that the volumes leave.</summary>
    public LayerMask CurrentLayers => stylizedLayers.value & _volumeLayers;

    /// <summary>Whether some objects are not to be stylised.</summary>
    public bool NeedsMask => CurrentLayers.value != EveryLayer;

    #endregion

    #region Public methods

    /// <summary>What volumes say, until they are asked again. Nothing of it is serialised.</summary>
    /// <param name="strengthFactor">what <see cref="Strength"/> is multiplied by; 1 without volumes</param>
    /// <param name="style">the style to show; null without</param>
    /// <param name="layers">the layers to leave of <see cref="StylizedLayers"/>; -1 without</param>
    /// <param name="ownColors">the share of the camera's own colours, besides the others'; 0 without</param>
    public void SetOverrides(float strengthFactor, StyleTransferModel style, int layers, float ownColors)
    {
        _volumeKeepColors = Mathf.Clamp01(ownColors);
        _volumeStrength = Mathf.Clamp01(strengthFactor);
        _volumeModel = style;
        _volumeLayers = layers;
    }

    /// <summary>What volumes say of the styles of one network, until they are asked again.</summary>
    /// <param name="mix">the styles to show; <see cref="NoMix"/> without</param>
    public void SetStyleOverride(StyleMix mix) => _volumeMix = mix;

    /// <summary>Shows a style of <see cref="Styles"/>.</summary>
    /// <param name="index">which, from 0; beyond the ends it goes round</param>
    public void SwitchTo(int index)
    {
        if (styles.Length == 0) return;
        model = styles[(index % styles.Length + styles.Length) % styles.Length];
    }

    /// <summary>Shows the style after the present one in <see cref="Styles"/>; after the last, the first.</summary>
    public void NextStyle()
    {
        for (var i = 0; i < styles.Length; i++)
        {
            if (styles[i] != model) continue;
            SwitchTo(i + 1);
            return;
        }
        SwitchTo(0);
    }

    #endregion

    #region MonoBehaviour implementation

    /// <summary>Inspector defaults of a newly added component.</summary>
    protected virtual void Reset()
    {
        if (convertShader == null) convertShader = Shader.Find(PictureConverter.ShaderName);
        if (motionShader == null) motionShader = Shader.Find(Reprojection.ShaderName);
        if (maskShader == null) maskShader = Shader.Find(ObjectMask.ShaderName);
    }

    /// <summary>Keeps what the inspector wrote in range.</summary>
    protected virtual void OnValidate()
    {
        Strength = strength;
        KeepColors = keepColors;
        StyleNumber = styleNumber;
        SecondStyle = secondStyle;
        StyleBlend = styleBlend;
        TargetHeight = targetHeight;
        RunEveryFrames = runEveryFrames;
        SpreadFrames = spreadFrames;
        BudgetMilliseconds = budgetMilliseconds;
        TargetFrameRate = targetFrameRate;
        MinimumHeight = minimumHeight;
        Stability = stability;
    }

    #endregion
}

}
