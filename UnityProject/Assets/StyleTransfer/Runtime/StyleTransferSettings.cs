using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// The settings of a style on a camera. All of them may be changed while playing.
/// </summary>
public abstract class StyleTransferSettings : MonoBehaviour
{
    #region Editable attributes

    [Header("Style")]

    [SerializeField, Tooltip("The style to show.")]
    StyleTransferModel model = null;

    [SerializeField, Tooltip("Number of the style, for a network with several styles; starts at 0.")]
    int styleNumber = 0;

    [SerializeField, Tooltip("Number of a second style of the same network, to blend in.")]
    int secondStyle = 0;

    [SerializeField, Range(0, 1), Tooltip("Blend of these two styles: 0 shows only the first, 1 only the second.")]
    float styleBlend = 0;

    [SerializeField, Tooltip("A picture to use as the style, instead of Style Number; for networks built with " +
      "--style-input.")]
    Texture stylePicture = null;

    [SerializeField, Tooltip("A picture to use as the second style, instead of Second Style.")]
    Texture secondStylePicture = null;

    [SerializeField, Tooltip("Styles to switch between with SwitchTo and NextStyle; may be empty.")]
    StyleTransferModel[] styles = new StyleTransferModel[0];

    [SerializeField, Tooltip("Keeps the networks of all these styles loaded, so that switching is immediate.")]
    bool preloadStyles = true;

    [SerializeField, Tooltip("If off, the camera's own picture is shown; the network stays loaded.")]
    bool stylize = true;

    [SerializeField, Range(0, 1), Tooltip("Blend of the camera's own picture (0) and the stylised one (1).")]
    float strength = 1;

    [SerializeField, Range(0, 1), Tooltip("Share of the camera's own colours: 0 shows the style's colours, 1 " +
      "takes only the brightness from the style. Combined with the style's own setting.")]
    float keepColors = 0;

    [SerializeField, Tooltip("Only objects on these layers are stylised.")]
    LayerMask stylizedLayers = -1;

    [SerializeField, Tooltip("A network that outputs a mask, built with --mask: the style is shown only on the " +
      "subject. If empty, it is shown everywhere.")]
    StyleTransferModel maskModel = null;

    [SerializeField, Tooltip("Shows the style only in the background instead.")]
    bool invertMask = false;

    [Header("Guides (for networks that take more than the colour)")]

    [SerializeField, Tooltip("Distance from the camera at which the depth guide is 1, in world units. 0 uses the camera's " +
      "far plane.")]
    float depthDistance = 0;

    [SerializeField, Tooltip("The mask for a network that takes one: its red channel, from 0 to 1, over the whole picture.")]
    Texture guideMask = null;

    [SerializeField, Tooltip("The texture for a network that takes one: red, green and blue, over the whole picture.")]
    Texture guideTexture = null;

    [Header("Network")]

    [SerializeField, Tooltip("What runs the network. Auto uses the fastest worker of this machine.")]
    StyleTransferWorker worker = StyleTransferWorker.Auto;

    [SerializeField, Tooltip("Number of lines of the network's input; the width follows from the camera's aspect " +
      "ratio. Half the lines take a quarter of the time.")]
    int targetHeight = DefaultTargetHeight;

    [Header("Frame rate")]

    [SerializeField, Range(1, MaximumFrames), Tooltip("Runs the network only on every n-th frame. In " +
      "between, Reproject moves the last output along with the scene.")]
    int runEveryFrames = 1;

    [SerializeField, Range(1, MaximumFrames), Tooltip("Spreads one run of the network over this many " +
      "frames: the frame rate is smoother, but the style is updated less often.")]
    int spreadFrames = 1;

    [SerializeField, Range(0, MaximumBudget), Tooltip("Time limit for the network in each frame, in " +
      "milliseconds; a run is spread over as many frames as it needs. 0 uses Spread Frames instead.")]
    float budgetMilliseconds = 0;

    [SerializeField, Range(0, MaximumFrameRate), Tooltip("Lowers the network's resolution until this frame " +
      "rate is reached, and raises it again when possible. 0 keeps the resolution.")]
    int targetFrameRate = 0;

    [SerializeField, Tooltip("The smallest number of lines that Target Frame Rate may use.")]
    int minimumHeight = DefaultMinimumHeight;

    [SerializeField, Tooltip("Moves the network's last output along with the scene, by motion vectors and depth, " +
      "until the next one is finished. If off, it stays where it was.")]
    bool reproject = true;

    [SerializeField, Tooltip("Shows frames between two outputs of the network, blended from one to the other, instead " +
      "of only moving the last one: no jumps, but the picture is delayed by Run Every Frames and the frames that a run " +
      "takes. It also needs memory: 90 MB at 960x540 with Run Every Frames 6. Needs Reproject.")]
    bool interpolate = false;

    [SerializeField, Range(0, MaximumStability), Tooltip("Reduces flicker: keeps this share of what the " +
      "previous frame showed of the same surface. Softens the picture; needs Reproject.")]
    float stability = 0;

    [Header("Editor")]

    [SerializeField, Tooltip("Shows the style in the Game view in edit mode, whenever the editor redraws it.")]
    bool previewInEditMode = false;

    [SerializeField, Tooltip("Shows the style in the Scene view too, in edit mode, and redraws it ten times a second.")]
    bool previewInSceneView = false;

    [Header("Shaders (referenced here so that they are included in players)")]

    [SerializeField, Tooltip("Hidden/StyleTransfer/Convert")]
    Shader convertShader = null;

    [SerializeField, Tooltip("Hidden/StyleTransfer/Motion")]
    Shader motionShader = null;

    [SerializeField, Tooltip("Hidden/StyleTransfer/Mask")]
    Shader maskShader = null;

    [SerializeField, Tooltip("Hidden/StyleTransfer/Guides")]
    Shader guidesShader = null;

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

    /// <summary>The largest values of <see cref="SpreadFrames"/> and <see cref="RunEveryFrames"/>.</summary>
    public const int MaximumFrames = 16;

    /// <summary>The largest budget, in milliseconds: two frames at 60 Hz.</summary>
    public const float MaximumBudget = 33;

    /// <summary>The largest share of the previous frame: half of a change is visible after 13 frames.</summary>
    public const float MaximumStability = 0.95f;

    /// <summary>The largest target frame rate.</summary>
    public const int MaximumFrameRate = 240;

    const int EveryLayer = -1;

    /// <summary>Passed to <see cref="SetStyleOverride"/> to keep the camera's own styles.</summary>
    public static readonly StyleMix NoMix = new StyleMix(-1, -1, 0);

    #endregion

    #region Public properties

    /// <summary>
    /// The style to show. If it is set while playing, the old one is shown until the first picture of the new one
    /// is finished.
    /// </summary>
    public StyleTransferModel Model
    {
        get => model;
        set => model = value;
    }

    /// <summary>Number of the style, for a network with several styles; starts at 0.</summary>
    public int StyleNumber
    {
        get => styleNumber;
        set => styleNumber = Mathf.Max(0, value);
    }

    /// <summary>Number of a second style of the same network, to blend in.</summary>
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

    /// <summary>A picture to use as the style instead of <see cref="StyleNumber"/>, for a network with a style input; may be
    /// null. If it is set while playing, the previous style is shown until the predictor has processed it.</summary>
    public Texture StylePicture
    {
        get => stylePicture;
        set => stylePicture = value;
    }

    /// <summary>A picture to use as the second style instead of <see cref="SecondStyle"/>; may be null.</summary>
    public Texture SecondStylePicture
    {
        get => secondStylePicture;
        set => secondStylePicture = value;
    }

    /// <summary>A vector to use as the style instead of <see cref="StyleNumber"/>, for a network with a style input; may be
    /// null. Not serialised.</summary>
    public float[] StyleVector { get; set; }

    /// <summary>A vector to use as the second style instead of <see cref="SecondStyle"/>; may be null. Not serialised.</summary>
    public float[] SecondStyleVector { get; set; }

    /// <summary>Styles to switch between; never null.</summary>
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

    /// <summary>Whether the picture is stylised. If not, the network stays loaded.</summary>
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

    /// <summary>A network whose mask says where the style is shown; null: everywhere.</summary>
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

    /// <summary>Distance at which the depth guide is 1, in world units; 0 uses the camera's far plane.</summary>
    public float DepthDistance
    {
        get => depthDistance;
        set => depthDistance = Mathf.Max(0, value);
    }

    /// <summary>The mask for a network that takes one as a guide; may be null, which is 0 everywhere.</summary>
    public Texture GuideMask
    {
        get => guideMask;
        set => guideMask = value;
    }

    /// <summary>The texture for a network that takes one as a guide; may be null, which is black.</summary>
    public Texture GuideTexture
    {
        get => guideTexture;
        set => guideTexture = value;
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

    /// <summary>The largest number of lines of the network's input.</summary>
    public int TargetHeight
    {
        get => targetHeight;
        set => targetHeight = Mathf.Max(WorkingSize.SmallestExtent, value);
    }

    /// <summary>The network runs on every n-th frame, 1 to 16.</summary>
    public int RunEveryFrames
    {
        get => runEveryFrames;
        set => runEveryFrames = Mathf.Clamp(value, 1, MaximumFrames);
    }

    /// <summary>Number of frames over which one run of the network is spread, 1 to 16.</summary>
    public int SpreadFrames
    {
        get => spreadFrames;
        set => spreadFrames = Mathf.Clamp(value, 1, MaximumFrames);
    }

    /// <summary>Time limit for the network in each frame, in milliseconds; 0 uses <see cref="SpreadFrames"/>.</summary>
    public float BudgetMilliseconds
    {
        get => budgetMilliseconds;
        set => budgetMilliseconds = Mathf.Clamp(value, 0, MaximumBudget);
    }

    /// <summary>The frame rate for which the network's resolution is lowered; 0 keeps the resolution.</summary>
    public int TargetFrameRate
    {
        get => targetFrameRate;
        set => targetFrameRate = Mathf.Clamp(value, 0, MaximumFrameRate);
    }

    /// <summary>The smallest number of lines that <see cref="TargetFrameRate"/> may use.</summary>
    public int MinimumHeight
    {
        get => minimumHeight;
        set => minimumHeight = Mathf.Max(WorkingSize.SmallestExtent, value);
    }

    /// <summary>Whether the last output is moved along with the scene until the next one is finished.</summary>
    public bool Reproject
    {
        get => reproject;
        set => reproject = value;
    }

    /// <summary>Whether frames are shown late, blended between two outputs of the network, instead of only moving the
    /// last one.</summary>
    public bool Interpolate
    {
        get => interpolate;
        set => interpolate = value;
    }

    /// <summary>The share of the previous frame that is kept, 0 to 0.95; reduces flicker.</summary>
    public float Stability
    {
        get => stability;
        set => stability = Mathf.Clamp(value, 0, MaximumStability);
    }

    /// <summary>Whether the style is shown in the Game view in edit mode.</summary>
    public bool PreviewInEditMode
    {
        get => previewInEditMode;
        set => previewInEditMode = value;
    }

    /// <summary>Whether the style is shown in the Scene view in edit mode.</summary>
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

    /// <summary>Hidden/StyleTransfer/Guides; null looks it up.</summary>
    public Shader GuidesShader => guidesShader;

    /// <summary>The current style: that of a volume, otherwise <see cref="Model"/>.</summary>
    public StyleTransferModel CurrentModel => _volumeModel != null ? _volumeModel : model;

    /// <summary>The current styles of one network: those of a volume, otherwise the camera's.</summary>
    public StyleMix CurrentMix
      => _volumeMix.Style >= 0 || _volumeMix.Picture != null ? _volumeMix
         : new StyleMix(styleNumber, secondStyle, styleBlend)
           {
               Picture = stylePicture, SecondPicture = secondStylePicture,
               Vector = StyleVector, SecondVector = SecondStyleVector
           };

    /// <summary>The current strength: <see cref="Strength"/>, multiplied by that of the volumes.</summary>
    public float CurrentStrength => strength * _volumeStrength;

    /// <summary>The current share of the camera's own colours: 1 - (1 - a)(1 - b)(1 - c) of <see cref="KeepColors"/>
    /// and the settings of the volumes and of the style.</summary>
    /// <param name="style">the style that is shown; may be null</param>
    public float CurrentKeepColors(StyleTransferModel style)
      => 1 - (1 - keepColors) * (1 - _volumeKeepColors) * (1 - (style != null ? style.KeepColors : 0));

    /// <summary>The current layers: <see cref="StylizedLayers"/>, limited by the volumes.</summary>
    public LayerMask CurrentLayers => stylizedLayers.value & _volumeLayers;

    /// <summary>Whether some objects are not to be stylised.</summary>
    public bool NeedsMask => CurrentLayers.value != EveryLayer;

    #endregion

    #region Public methods

    /// <summary>Sets the values of volumes, until the next call. They are not serialised.</summary>
    /// <param name="strengthFactor">what <see cref="Strength"/> is multiplied by; 1 without volumes</param>
    /// <param name="style">the style to show; null keeps the component's</param>
    /// <param name="layers">limit for <see cref="StylizedLayers"/>; -1 for no limit</param>
    /// <param name="ownColors">share of the camera's own colours, combined with the other settings; 0 for none</param>
    public void SetOverrides(float strengthFactor, StyleTransferModel style, int layers, float ownColors)
    {
        _volumeKeepColors = Mathf.Clamp01(ownColors);
        _volumeStrength = Mathf.Clamp01(strengthFactor);
        _volumeModel = style;
        _volumeLayers = layers;
    }

    /// <summary>Sets the styles that volumes select within a network, until the next call.</summary>
    /// <param name="mix">the styles to show; <see cref="NoMix"/> keeps the component's</param>
    public void SetStyleOverride(StyleMix mix) => _volumeMix = mix;

    /// <summary>Shows a style of <see cref="Styles"/>.</summary>
    /// <param name="index">index from 0; values outside the list wrap around</param>
    public void SwitchTo(int index)
    {
        if (styles.Length == 0) return;
        model = styles[(index % styles.Length + styles.Length) % styles.Length];
    }

    /// <summary>Shows the next style of <see cref="Styles"/>; after the last, the first.</summary>
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
        if (guidesShader == null) guidesShader = Shader.Find(GuidePainter.ShaderName);
    }

    /// <summary>Clamps values from the inspector to their ranges.</summary>
    protected virtual void OnValidate()
    {
        Strength = strength;
        DepthDistance = depthDistance;
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
