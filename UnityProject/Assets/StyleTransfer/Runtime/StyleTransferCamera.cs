using System;
using System.Collections.Generic;
using UnityEngine;
using UnityEngine.Rendering;

namespace StyleTransfer
{

/// <summary>
/// Stylises a camera's picture. In the built-in render pipeline it draws by itself; in URP and HDRP, the bundle's
/// render pass does the drawing and looks for this component on the camera.
/// </summary>
/// <remarks>
/// The order of image effects matters: put this one after tone mapping, because the network's input is limited to
/// 0..1.
/// </remarks>
[RequireComponent(typeof(Camera)), ExecuteAlways]
[AddComponentMenu("Style Transfer/Style Transfer Camera")]
public class StyleTransferCamera : StyleTransferSettings
{
    #region Public members

    /// <summary>The runner in use; null while disabled, or if there is no model that can be loaded.</summary>
    public StyleTransferRunner Runner => _effect != null ? _effect.Runner : null;

    /// <summary>How many networks are loaded.</summary>
    public int LoadedStyles => _effect != null ? _effect.LoadedStyles : 0;

    /// <summary>Actual lines divided by <see cref="StyleTransferSettings.TargetHeight"/>; below 1 if they were lowered to
    /// reach a frame rate.</summary>
    public float ResolutionScale => _effect != null ? _effect.ResolutionScale : 1;

    /// <summary>By how many frames the picture shown is late; above 0 only with
    /// <see cref="StyleTransferSettings.Interpolate"/>.</summary>
    public int FramesLate => _effect != null ? _effect.Delay : 0;

    /// <summary>
    /// Call this after a cut or a teleport: the last picture is no longer reprojected, and the network runs at once.
    /// </summary>
    public void Cut()
    {
        if (_effect != null) _effect.Forget();
    }

    /// <summary>The enabled component of a camera; null if it has none.</summary>
    public static StyleTransferCamera Of(Camera camera)
    {
        for (var i = 0; i < s_Enabled.Count; i++)
            if (s_Enabled[i]._camera == camera) return s_Enabled[i];
        return null;
    }

    /// <summary>The enabled component whose style the Scene view is to show; null if there is none.</summary>
    public static StyleTransferCamera ForSceneView
    {
        get
        {
            for (var i = 0; i < s_Enabled.Count; i++)
                if (s_Enabled[i].PreviewInSceneView && !s_Enabled[i].IsInSceneView) return s_Enabled[i];
            return null;
        }
    }

    #endregion

    #region For render pipelines

    /// <summary>Whether anything is to be drawn in this frame.</summary>
    public bool IsShowing => _effect != null && IsOn && IsActive;

    /// <summary>
    /// Whether motion vectors and depth are needed. A picture that is shown in the frame that it was taken from needs
    /// neither, unless the previous one is used to stabilise it. The Scene view has none in edit mode.
    /// </summary>
    /// <param name="lags">the pipeline shows pictures one frame late at best</param>
    public bool NeedsMotion(bool lags)
      => Reproject && !IsInSceneView && ((lags && !RunsInsideFrames) || RunEveryFrames > 1 || SpreadFrames > 1 ||
         BudgetMilliseconds > 0 || Stability > 0 || Styles.Length > 1);

    /// <summary>Whether the network takes the camera's depth or normals, which the pipeline must then render.</summary>
    public bool NeedsGuides => NeedsNormals || (CurrentModel != null && CurrentModel.Takes(GuideLayout.Depth));

    /// <summary>Whether the network takes the camera's normals.</summary>
    public bool NeedsNormals => CurrentModel != null && CurrentModel.Takes(GuideLayout.Normals);

    /// <summary>Says where the camera's depth and normals are in this frame; before <see cref="Record"/>.</summary>
    /// <param name="source">the render pipeline's</param>
    /// <param name="depth">a copy of the depth, as large as the picture; null where it is not a copy</param>
    /// <param name="normals">a copy of the packed normals; null where they are not a copy</param>
    public void SetGuides(GuideSource source, Texture depth = null, Texture normals = null)
    {
        if (_effect != null) _effect.SetGuides(source, depth, normals);
    }

    /// <summary>Where to draw the objects of the stylised layers, with <see cref="MaskMaterial"/>.</summary>
    /// <param name="width">of the camera's picture</param>
    /// <param name="height">of the camera's picture</param>
    /// <param name="depth">the camera's depth; null is the global depth texture</param>
    /// <returns>null if there can be no mask, which has then been logged: do not change the camera's picture</returns>
    public RenderTexture PrepareMask(int width, int height, Texture depth = null)
    {
        _framesWithoutPass = 0;
        if (!_triedMask) AllocateMask();
        return _mask != null ? _mask.Prepare(_camera, MaskSize(width, height), depth) : null;
    }

    /// <summary>The material of the mask; valid after <see cref="PrepareMask"/>.</summary>
    public Material MaskMaterial => _mask.Material;

    /// <summary>Textures for what belongs to the camera's frame; freed with the component's others.</summary>
    public CameraCopies Copies => _copies;

    /// <summary>What <see cref="MotionSource.Copies"/> of <see cref="Record"/> reads.</summary>
    /// <param name="depth">a copy of the camera's depth, as large as its picture</param>
    /// <param name="motion">a copy of its motion vectors</param>
    public void SetCopies(Texture depth, Texture motion)
    {
        if (_effect != null) _effect.SetCopies(depth, motion);
    }

    /// <summary>
    /// Records one frame. The network itself runs before the next one, when the commands are with the GPU.
    /// </summary>
    /// <param name="commands">where to record</param>
    /// <param name="picture">a copy of the camera's picture</param>
    /// <param name="target">where to draw the stylised picture; untouched if false is returned</param>
    /// <param name="motion">where motion vectors and depth come from</param>
    /// <param name="mask">where to show the style; null is everywhere</param>
    /// <returns>whether there was a picture of the network to show</returns>
    public bool Record
      (CommandBuffer commands, RenderTexture picture, RenderTargetIdentifier target, MotionSource motion, Texture mask)
    {
        _framesWithoutPass = 0;
        if (!IsShowing) return false;
        try
        {
            var painter = new Painter(commands, picture);
            _effect.Observe(painter, picture.width, picture.height, motion, _camera);
            var shown = picture;
            var material = _effect.Compose(painter, mask, ref shown);
            if (material != null) commands.Blit(shown, target, material, PictureConverter.PassFromNetwork);
            return material != null;
        }
        catch (Exception exception)
        {
            ReportFailure(exception);
            return false;
        }
    }

    #endregion

    #region Private objects

    const float MillisecondsPerSecond = 1000;

    // Number of frames without a pass after which a warning is logged.
    const int PatientFrames = 60;

    static readonly List<StyleTransferCamera> s_Enabled = new List<StyleTransferCamera>();
    static readonly Action<ScriptableRenderContext, Camera> s_Ended = NoteEnd;

    Camera _camera;
    StyleTransferEffect _effect;
    ObjectMask _mask;
    readonly CameraCopies _copies = new CameraCopies();
    readonly CameraTextures _textures = new CameraTextures();

    // The shaders that _effect was created from, or could not be created from: tried once, not every frame.
    bool _tried, _triedMask;
    bool _reportedNoModel;
    StyleTransferModel _checkedModel;
    int _framesWithoutPass;

    // The pipeline has drawn the camera since the last LateUpdate: not so in a hidden Game view.
    bool _rendered;
    Shader _triedShader;
    StyleTransferWorker _triedWorker;

    #endregion

    #region MonoBehaviour implementation

    /// <summary>Starts the effect. Networks are loaded at the first frame.</summary>
    protected virtual void OnEnable()
    {
        _camera = GetComponent<Camera>();
        s_Enabled.Add(this);
        RenderPipelineManager.endCameraRendering -= s_Ended;
        RenderPipelineManager.endCameraRendering += s_Ended;
    }

    /// <summary>Frees everything: also when the scene changes and before scripts are loaded again.</summary>
    protected virtual void OnDisable()
    {
        s_Enabled.Remove(this);
        if (s_Enabled.Count == 0) RenderPipelineManager.endCameraRendering -= s_Ended;
        _textures.Request(_camera, false, false, false);
        ReleaseEffect();
    }

    /// <summary>
    /// In URP and HDRP, runs the network on the picture that the last frame recorded. In the built-in pipeline, asks
    /// for the textures that this frame will need.
    /// </summary>
    protected virtual void LateUpdate()
    {
        if (CurrentPipeline == null)
        {
            // Before the first picture it is not known yet whether there will be any.
            var draws = IsOn && IsActive && (!_tried || _effect != null);
            _textures.Request(_camera, draws && NeedsMotion(false), draws && (NeedsMask || NeedsGuides),
                              draws && NeedsNormals);
            return;
        }

        if (!Prepare()) return;
        if (_rendered && ++_framesWithoutPass == PatientFrames) ReportNoPass();
        _rendered = false;
        try
        {
            _effect.Run();
        }
        catch (Exception exception)
        {
            ReportFailure(exception);
        }
    }

    /// <summary>Called by the built-in render pipeline with the camera's picture.</summary>
    protected virtual void OnRenderImage(RenderTexture source, RenderTexture destination)
    {
        Material material = null;
        var shown = source;
        if (Prepare())
        {
            try
            {
                material = Draw(source, ref shown);
            }
            catch (Exception exception)
            {
                ReportFailure(exception);
            }
        }

        if (material == null) Graphics.Blit(source, destination);
        else Graphics.Blit(shown, destination, material, PictureConverter.PassFromNetwork);
    }

    #endregion

    #region Private methods

    static RenderPipelineAsset CurrentPipeline
    {
        get
        {
        #if UNITY_2019_3_OR_NEWER
            return GraphicsSettings.currentRenderPipeline;
        #else
            return GraphicsSettings.renderPipelineAsset;
        #endif
        }
    }

    static void NoteEnd(ScriptableRenderContext context, Camera camera)
    {
        var component = Of(camera);
        if (component != null) component._rendered = true;
    }

    // In edit mode, only if a preview is requested.
    bool IsActive => Application.isPlaying || (IsInSceneView ? PreviewInSceneView : PreviewInEditMode);

    // The Scene view's camera has its own component, see SceneViewPreview in the editor assembly.
    bool IsInSceneView => _camera != null && _camera.cameraType == CameraType.SceneView;

    bool IsOn => Stylize && CurrentStrength > 0;

    bool RunsInsideFrames => _effect != null && _effect.RunsInsideFrames;

    // Whether there is something to draw.
    bool Prepare()
    {
        if (!IsActive)
        {
            if (_tried) ReleaseEffect();
            return false;
        }

        if (!_tried || Worker != _triedWorker || ConvertShader != _triedShader) AllocateEffect();
        if (_effect == null) return false;

        if (CurrentModel == null) ReportNoModel();
        else if (CurrentModel != _checkedModel) ReportMissingGuides();
        _effect.Update(Time.unscaledDeltaTime * MillisecondsPerSecond);
        if (IsShowing) return true;

        _effect.Forget();
        return false;
    }

    Material Draw(RenderTexture source, ref RenderTexture shown)
    {
        var moves = NeedsMotion(false) && CameraTextures.HasMotion(_camera);
        var motion = moves ? MotionSource.BuiltIn : MotionSource.None;
        var painter = new Painter(source);
        _effect.SetGuides(GuideSource.BuiltIn, null, null);
        _effect.Observe(painter, source.width, source.height, motion, _camera);
        _effect.Run();
        if (!NeedsMask) return _effect.Compose(painter, null, ref shown);

        // A mask that was switched on after LateUpdate has no depth to compare with in this frame.
        var mask = CameraTextures.HasDepth(_camera) ? DrawMask(source) : null;
        return mask != null ? _effect.Compose(painter, mask, ref shown) : null;
    }

    RenderTexture DrawMask(RenderTexture source)
    {
        if (!_triedMask) AllocateMask();
        return _mask != null ? _mask.Draw(_camera, CurrentLayers, MaskSize(source.width, source.height)) : null;
    }

    // As fine as the network's picture.
    WorkingSize MaskSize(int width, int height) => WorkingSize.Fit(width, height, TargetHeight, 1);

    #endregion

    #region Allocate / deallocate

    void AllocateEffect()
    {
        ReleaseEffect();

        _tried = true;
        _triedShader = ConvertShader;
        _triedWorker = Worker;

        try
        {
            _effect = new StyleTransferEffect(this);
        }
        catch (Exception exception)
        {
            Debug.LogError(exception.Message, this);
        }
    }

    void AllocateMask()
    {
        _triedMask = true;
        try
        {
            _mask = new ObjectMask(MaskShader);
        }
        catch (Exception exception)
        {
            Debug.LogError(exception.Message, this);
        }
    }

    void ReleaseEffect()
    {
        _copies.Dispose();
        if (_mask != null) _mask.Dispose();
        _mask = null;
        if (_effect != null) _effect.Dispose();
        _effect = null;

        _tried = false;
        _triedMask = false;
        _reportedNoModel = false;
        _checkedModel = null;
        _framesWithoutPass = 0;
        _triedShader = null;
        _triedWorker = default(StyleTransferWorker);
    }

    #endregion

    #region Reports

    // The picture stays unstylised; disabling and enabling the component tries again.
    void ReportFailure(Exception exception) => _effect.ReportFailure(exception);

    void ReportNoModel()
    {
        if (_reportedNoModel) return;
        _reportedNoModel = true;
        Debug.LogWarning("Style Transfer: no model is assigned. Assign the .asset file of a style to the " +
          "Model field.", this);
    }

    void ReportMissingGuides()
    {
        _checkedModel = CurrentModel;
        ReportMissingGuide(GuideLayout.Mask, GuideMask, "Guide Mask", "a mask of zeros");
        ReportMissingGuide(GuideLayout.Texture, GuideTexture, "Guide Texture", "a black texture");
    }

    void ReportMissingGuide(string guide, Texture assigned, string field, string instead)
    {
        if (assigned == null && CurrentModel.Takes(guide))
            Debug.LogWarning("Style Transfer: the network '" + CurrentModel.DisplayName + "' takes a " + guide +
              " as a guide, but the field " + field + " is empty, so " + instead + " is used.", this);
    }

    void ReportNoPass()
      => Debug.LogWarning("Style Transfer: this project renders with '" + CurrentPipeline.name + "', and no pass of " +
           "it draws this camera's style. URP: add Style Transfer Feature to the renderer. HDRP: add a Custom Pass " +
           "Volume with a Style Transfer Custom Pass. Both are in folders of StyleTransfer/Runtime.", this);

    #endregion
}

}
