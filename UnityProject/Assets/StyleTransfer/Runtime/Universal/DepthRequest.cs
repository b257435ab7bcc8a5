using System.Collections.Generic;
using UnityEngine;
using UnityEngine.Rendering;
using UnityEngine.Rendering.Universal;

namespace StyleTransfer.Universal
{

#if !URP_10_OR_NEWER

/// <summary>
/// Requests the depth texture from URP 7 to 9 for cameras whose style has a mask, and undoes that afterwards: there a
/// renderer decides about it before it queries its features (ForwardRenderer.Setup), so the camera's option must be set.
/// </summary>
static class DepthRequest
{
    #region Public methods

    /// <summary>Looks at each camera before it is rendered. A second call changes nothing.</summary>
    public static void Watch()
    {
        RenderPipelineManager.beginCameraRendering -= Look;
        RenderPipelineManager.beginCameraRendering += Look;
    }

    #endregion

    #region Private members

    // What the options were before they were changed here.
    static readonly Dictionary<Camera, CameraOverrideOption> s_Before = new Dictionary<Camera, CameraOverrideOption>();

    static void Look(ScriptableRenderContext context, Camera camera)
    {
        var component = StyleTransferCamera.Of(camera);
        var wanted = component != null && component.IsShowing &&
          (component.NeedsMask || component.NeedsGuides);
        if (wanted == s_Before.ContainsKey(camera)) return;

        var data = camera.GetComponent<UniversalAdditionalCameraData>();
        if (data == null) return;
        if (wanted)
        {
            s_Before.Add(camera, data.requiresDepthOption);
            data.requiresDepthOption = CameraOverrideOption.On;
        }
        else
        {
            data.requiresDepthOption = s_Before[camera];
            s_Before.Remove(camera);
        }
    }

    #endregion
}

#endif

}
