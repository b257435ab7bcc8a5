using StyleTransfer.Volumes;
using UnityEngine;
using UnityEngine.Rendering;
using UnityEngine.Rendering.Universal;

namespace StyleTransfer.Universal
{

/// <summary>
/// Draws the style of each camera that has a <see cref="StyleTransferCamera"/>, in URP. Add it to the renderer.
/// </summary>
public sealed class StyleTransferFeature : ScriptableRendererFeature
{
    #region Editable attributes

    [SerializeField, Tooltip("If on, the network sees what the player sees. If off, it runs before post-processing: " +
      "colours above 1 are clipped, and the stylised picture is post-processed.")]
    bool afterPostProcessing = true;

    #endregion

    #region ScriptableRendererFeature implementation

    /// <summary>Makes the pass.</summary>
    public override void Create()
    {
        _pass = new StyleTransferPass();
    #if !URP_10_OR_NEWER
        DepthRequest.Watch();
    #endif
    }

    /// <summary>Adds the pass for cameras that have a style.</summary>
    public override void AddRenderPasses(ScriptableRenderer renderer, ref RenderingData renderingData)
    {
        var component = StyleTransferCamera.Of(renderingData.cameraData.camera);
        if (component == null) return;

        StyleTransferVolume.Apply(VolumeManager.instance.stack, component);
        if (!component.IsShowing) return;

        _pass.SetUp(component, renderer, ref renderingData, afterPostProcessing);
        renderer.EnqueuePass(_pass);
    }

    #endregion

    #region Private objects

    StyleTransferPass _pass;

    #endregion
}

}
