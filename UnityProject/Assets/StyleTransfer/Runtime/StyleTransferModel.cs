using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// One style: the imported model, its image contract, its source, its cost, and a golden frame to check that it
/// computes the same here as where it was built. Written by the pipeline; do not edit it by hand.
/// </summary>
/// <remarks>
/// The network takes red, green, blue in 0..1 as a picture file stores them (sRGB values, never linear light),
/// row 0 at the top, and gives the same, clamped. Value ranges, means and channel orders of the original
/// network are part of the graph.
/// </remarks>
[CreateAssetMenu(menuName = "Style Transfer/Empty Style", fileName = "Style")]
public sealed class StyleTransferModel : ScriptableObject
{
    #region Serialised fields

    [Header("Network")]

    [SerializeField, Tooltip("The imported network, an object of whatever type the engine's package imports.")]
    Object model = null;

    [SerializeField, Tooltip("The network with its weights packed, instead of an imported one.")]
    TextAsset packed = null;

    [SerializeField, Tooltip("The display name.")]
    string displayName = "";

    [SerializeField, Tooltip("The file that the network was built from.")]
    string source = "";

    [SerializeField, Tooltip("Digest of that file. The model's metadata contains the same digest.")]
    string sourceDigest = "";

    [SerializeField, Tooltip("Digest of the model file next to this asset.")]
    string modelDigest = "";

    [SerializeField, Tooltip("The kind of network that was recognised.")]
    string architecture = "";

    [SerializeField, Tooltip("The inference package that the model was built for.")]
    string target = "";

    [Header("Image contract")]

    [SerializeField, Tooltip("Name of the model's picture input.")]
    string inputName = "";

    [SerializeField, Tooltip("Name of the model's picture output.")]
    string outputName = "";

    [SerializeField, Tooltip("Channels of the input: 3 (colour) or 1 (grey).")]
    int inputChannels = 3;

    [SerializeField, Tooltip("Channels of the output: 3 (colour) or 1 (grey).")]
    int outputChannels = 3;

    [SerializeField, Tooltip("Width in pixels for which the model was built and its cost is given.")]
    int nominalWidth = 960;

    [SerializeField, Tooltip("Height in pixels for which the model was built and its cost is given.")]
    int nominalHeight = 540;

    [SerializeField, Tooltip("Width and height of the input must be multiples of this.")]
    int sizeMultiple = 4;

    [SerializeField, Tooltip("The network runs only at the nominal size.")]
    bool fixedSize = false;

    [SerializeField, Tooltip("Width of the output divided by width of the input.")]
    float outputScale = 1;

    [SerializeField, Tooltip("Name of the model's second input, which takes one weight per style; empty if there is " +
      "none.")]
    string styleInput = "";

    [SerializeField, Tooltip("Names of the network's styles, in the order of their numbers; empty if there is only one.")]
    string[] styleNames = new string[0];

    [SerializeField, Tooltip("The style vector of each of these styles, if the second input takes such a vector.")]
    TextAsset styleVectors = null;

    [SerializeField, Tooltip("The network that computes the style vector of another style, from a picture or a vector.")]
    StyleTransferModel predictor = null;

    [SerializeField, Tooltip("This network computes style vectors for another network, and outputs no pictures.")]
    bool isPredictor = false;

    [SerializeField, Tooltip("What the network takes beside the colour: depth, normals, mask or texture.")]
    string[] guides = new string[0];

    [SerializeField, Tooltip("Names of the model's inputs for these guides, one for each texture.")]
    string[] guideInputs = new string[0];

    [SerializeField, Tooltip("The output is a mask instead of a picture: 1 on the subject, 0 in the background.")]
    bool isMask = false;

    [Header("Look")]

    [SerializeField, Range(0, 1), Tooltip("Strength of the style; multiplied by the camera's strength.")]
    float strength = 1;

    [SerializeField, Range(0, 1), Tooltip("Share of the camera's own colours: 1 takes only the brightness from " +
      "the style.")]
    float keepColors = 0;

    [Header("Cost")]

    [SerializeField, Tooltip("Number of weights.")]
    int weights = 0;

    [SerializeField, Tooltip("Billions of multiply-adds per picture at the nominal size.")]
    float gigaMacs = 0;

    [SerializeField, Tooltip("Size of the model file in bytes.")]
    int fileBytes = 0;

    [Header("Golden frame")]

    [SerializeField, Tooltip("The input picture of the golden frame.")]
    Texture2D goldenInput = null;

    [SerializeField, Tooltip("The source network's output for it.")]
    Texture2D goldenOutput = null;

    [SerializeField, Tooltip("The output for each style, if the network has several.")]
    Texture2D[] styleGoldenOutputs = new Texture2D[0];

    [SerializeField, Tooltip("The pictures of these styles, if a style is a picture.")]
    Texture2D[] stylePictures = new Texture2D[0];

    [SerializeField, Tooltip("The guides of the golden input, in the order of Guides.")]
    Texture2D[] goldenGuides = new Texture2D[0];

    [SerializeField, Tooltip("Largest allowed difference between the model's output and the golden output, " +
      "in levels of 255, before rounding to whole levels.")]
    float goldenTolerance = 1;

    #endregion

    #region Private objects

    GuideLayout _guideLayout;

    void AllocateGuideLayout() => _guideLayout = new GuideLayout(guides);

    #endregion

    #region Public properties

    /// <summary>The imported network, of a type that its engine knows; null if it is packed.
    /// <see cref="NetworkLoad"/> loads either.</summary>
    public Object Model => model;

    /// <summary>The packed network; null if it is imported.</summary>
    public TextAsset Packed => packed;

    /// <summary>Whether there is a network, imported or packed.</summary>
    public bool HasNetwork => model != null || packed != null;

    /// <summary>The name to show to users.</summary>
    public string DisplayName => string.IsNullOrEmpty(displayName) ? name : displayName;

    /// <summary>The file that the network was built from.</summary>
    public string Source => source;

    /// <summary>Digest of the source file, also in the model's metadata under "source_digest".</summary>
    public string SourceDigest => sourceDigest;

    /// <summary>Digest of the model file, which is next to this asset or rebuilt from the packed file.</summary>
    public string ModelDigest => modelDigest;

    /// <summary>The kind of network that was recognised.</summary>
    public string Architecture => architecture;

    /// <summary>The inference package that the model was built for, for instance barracuda-3.0.</summary>
    public string Target => target;

    /// <summary>Name of the model's picture input.</summary>
    public string InputName => inputName;

    /// <summary>Name of the model's picture output.</summary>
    public string OutputName => outputName;

    /// <summary>Channels of the picture input: 3 (colour) or 1 (grey, the mean of red, green and blue).</summary>
    public int InputChannels => inputChannels;

    /// <summary>Channels of the output: 3 (colour) or 1 (grey).</summary>
    public int OutputChannels => outputChannels;

    /// <summary>The width, in pixels, that <see cref="GigaMacs"/> is given for.</summary>
    public int NominalWidth => nominalWidth;

    /// <summary>The height, in pixels, that <see cref="GigaMacs"/> is given for.</summary>
    public int NominalHeight => nominalHeight;

    /// <summary>Width and height of the input must be multiples of this.</summary>
    public int SizeMultiple => sizeMultiple;

    /// <summary>Whether the network runs only at the nominal size.</summary>
    public bool FixedSize => fixedSize;

    /// <summary>Width of the output divided by width of the input.</summary>
    public float OutputScale => outputScale;

    /// <summary>Name of the model's second input, which takes one weight per style, or a style vector
    /// (<see cref="HasStyleVectors"/>); empty if there is none.</summary>
    public string StyleInput => styleInput;

    /// <summary>How many styles the network has, at least 1.</summary>
    public int StyleCount => Mathf.Max(1, styleNames.Length);

    /// <summary>The name of a style for people.</summary>
    /// <param name="number">from 0</param>
    public string StyleName(int number)
      => number >= 0 && number < styleNames.Length ? styleNames[number] : DisplayName;

    /// <summary>Whether the second input takes a style vector, so that styles that are not in the asset can be used while
    /// playing.</summary>
    public bool HasStyleVectors => styleVectors != null;

    /// <summary>The network that computes the style vector of a picture or a vector; null if there is none.</summary>
    public StyleTransferModel Predictor => predictor;

    /// <summary>Whether this network computes style vectors for another network, which refers to it.</summary>
    public bool IsPredictor => isPredictor;

    /// <summary>Whether a style of this network can be a picture.</summary>
    public bool TakesStylePictures => predictor != null && predictor.NominalWidth > 1;

    /// <summary>The picture of a style of the asset; null if styles are not pictures.</summary>
    /// <param name="number">from 0</param>
    public Texture2D StylePicture(int number)
      => number >= 0 && number < stylePictures.Length ? stylePictures[number] : null;

    /// <summary>The vectors of the asset's styles, one after the other. Allocates.</summary>
    /// <exception cref="System.InvalidOperationException">the file with the vectors is damaged</exception>
    public float[] ReadStyleVectors()
    {
        var bytes = styleVectors.bytes;
        if (bytes.Length == 0 || bytes.Length % (sizeof(float) * StyleCount) != 0)
            throw new System.InvalidOperationException("Style transfer model '" + DisplayName + "': the file of its styles is " +
              "damaged. Build the bundle again with pipeline build-unity.");
        var numbers = new float[bytes.Length / sizeof(float)];
        System.Buffer.BlockCopy(bytes, 0, numbers, 0, bytes.Length);
        return numbers;
    }

    /// <summary>Whether the network takes guides beside the colour.</summary>
    public bool HasGuides => guides.Length > 0;

    /// <summary>Whether the network takes a guide.</summary>
    /// <param name="guide">a name of <see cref="StyleTransfer.GuideLayout"/></param>
    public bool Takes(string guide) => System.Array.IndexOf(guides, guide) >= 0;

    /// <summary>Which channels of which textures contain the guides. Created on first use.</summary>
    /// <exception cref="System.InvalidOperationException">a guide is not known</exception>
    public GuideLayout GuideLayout
    {
        get
        {
            if (_guideLayout == null) AllocateGuideLayout();
            return _guideLayout;
        }
    }

    /// <summary>Number of channels of all guides; 0 if there are none.</summary>
    public int GuideChannels => HasGuides ? GuideLayout.ChannelCount : 0;

    /// <summary>Names of the model's inputs for textures of guides, which come after the picture's; may be empty.</summary>
    public string[] GuideInputs => guideInputs;

    /// <summary>The names of the guides, in the model's order; may be empty.</summary>
    public string[] Guides => guides;

    /// <summary>A guide of <see cref="GoldenInput"/>.</summary>
    /// <param name="number">from 0, in the order of <see cref="Guides"/></param>
    public Texture2D GoldenGuide(int number)
      => number >= 0 && number < goldenGuides.Length ? goldenGuides[number] : null;

    /// <summary>Whether the output is a mask, 1 at the subject and 0 in the background, and not a picture. See
    /// <see cref="StyleTransferSettings.MaskModel"/>.</summary>
    public bool IsMask => isMask;

    /// <summary>Strength of the style, 0 to 1; multiplied by the camera's strength.</summary>
    public float Strength => strength;

    /// <summary>Share of the camera's own colours, 0 to 1; combined with the camera's setting.</summary>
    public float KeepColors => keepColors;

    /// <summary>Number of weights.</summary>
    public int Weights => weights;

    /// <summary>Billions of multiply-adds for one picture of the nominal size.</summary>
    public float GigaMacs => gigaMacs;

    /// <summary>Size of the model file in bytes.</summary>
    public int FileBytes => fileBytes;

    /// <summary>An input picture.</summary>
    public Texture2D GoldenInput => goldenInput;

    /// <summary>The source network's output for <see cref="GoldenInput"/>, rounded to 8 bits.</summary>
    public Texture2D GoldenOutput => goldenOutput;

    /// <summary>The golden output of a style; <see cref="GoldenOutput"/> for a network with one.</summary>
    /// <param name="number">from 0</param>
    public Texture2D StyleGoldenOutput(int number)
      => number >= 0 && number < styleGoldenOutputs.Length ? styleGoldenOutputs[number] : goldenOutput;

    /// <summary>Largest allowed difference between the model's output and the golden output, in levels of 255.</summary>
    public float GoldenTolerance => goldenTolerance;

    #endregion

    #region Public methods

    /// <summary>
    /// The size at which to run the network for a source picture, in pixels.
    /// </summary>
    /// <param name="sourceWidth">pixels</param>
    /// <param name="sourceHeight">pixels</param>
    /// <param name="targetHeight">requested lines; without effect if the network has a fixed size</param>
    public WorkingSize FitSize(int sourceWidth, int sourceHeight, int targetHeight)
      => fixedSize
         ? new WorkingSize(nominalWidth, nominalHeight)
         : WorkingSize.Fit(sourceWidth, sourceHeight, targetHeight, sizeMultiple);

    #endregion
}

}
