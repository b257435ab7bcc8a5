// Signatures of the part of URP that the pass uses, written by hand from API facts: 7 (no define), URP_10_OR_NEWER,
// URP_12_OR_NEWER, URP_13_OR_NEWER, URP_17_OR_NEWER, URP_17_3_OR_NEWER. What a version does not have is not here.

using System;
using System.Collections.Generic;
using UnityEngine.Rendering;
#if URP_17_OR_NEWER
using UnityEngine.Rendering.RenderGraphModule;
#endif

namespace UnityEngine.Rendering.Universal
{

public enum RenderPassEvent
{
    BeforeRendering = 0, BeforeRenderingPostProcessing = 550, AfterRenderingPostProcessing = 600, AfterRendering = 1000
}

#if URP_10_OR_NEWER

[Flags]
public enum ScriptableRenderPassInput
{
    None = 0, Depth = 1, Normal = 2, Color = 4,
#if URP_12_OR_NEWER
    Motion = 8
#endif
}

#endif

public struct CameraData
{
    public Camera camera;
    public RenderTextureDescriptor cameraTargetDescriptor;
    public bool postProcessEnabled;
    public bool requiresDepthTexture;
}

#if !URP_10_OR_NEWER

public enum CameraOverrideOption { Off = 0, On = 1, UsePipelineSettings = 2 }

public class UniversalAdditionalCameraData : MonoBehaviour
{
    CameraOverrideOption m_Depth = CameraOverrideOption.UsePipelineSettings;
    public CameraOverrideOption requiresDepthOption { get { return m_Depth; } set { m_Depth = value; } }
}

#endif

public struct RenderingData
{
    public CullingResults cullResults;
    public CameraData cameraData;
}

public abstract class ScriptableRenderer
{
    internal RenderTexture color;
    internal readonly List<ScriptableRenderPass> queue = new List<ScriptableRenderPass>();

#if !URP_13_OR_NEWER
    public RenderTargetIdentifier cameraColorTarget { get { return new RenderTargetIdentifier(color); } }
#elif !URP_17_3_OR_NEWER
#if URP_17_OR_NEWER
    [Obsolete("compatibility mode")]
#endif
    public RTHandle cameraColorTargetHandle { get { return new RTHandle(color); } }
#endif

    public void EnqueuePass(ScriptableRenderPass pass) { queue.Add(pass); }
}

public abstract class ScriptableRenderPass
{
    public RenderPassEvent renderPassEvent { get; set; }

#if URP_17_OR_NEWER
    public bool requiresIntermediateTexture { get; set; }
#endif

#if URP_10_OR_NEWER
    internal ScriptableRenderPassInput input;
    public void ConfigureInput(ScriptableRenderPassInput passInput) { input = passInput; }
#endif

#if !URP_17_OR_NEWER
    public abstract void Execute(ScriptableRenderContext context, ref RenderingData renderingData);
#elif !URP_17_3_OR_NEWER
    [Obsolete("compatibility mode")]
    public virtual void Execute(ScriptableRenderContext context, ref RenderingData renderingData) {}
#endif

#if !URP_17_3_OR_NEWER
#if URP_17_OR_NEWER
    [Obsolete("compatibility mode")]
#endif
    public DrawingSettings CreateDrawingSettings
        (List<ShaderTagId> shaderTagIdList, ref RenderingData renderingData, SortingCriteria sortingCriteria)
    {
        return new DrawingSettings();
    }
#endif

#if URP_17_OR_NEWER
    public virtual void RecordRenderGraph(RenderGraph renderGraph, ContextContainer frameData) {}
#endif
}

#if URP_10_OR_NEWER
public abstract class ScriptableRendererFeature : ScriptableObject, IDisposable
#else
public abstract class ScriptableRendererFeature : ScriptableObject
#endif
{
    public bool isActive { get { return true; } }
    public abstract void Create();
    public abstract void AddRenderPasses(ScriptableRenderer renderer, ref RenderingData renderingData);
#if URP_10_OR_NEWER
    public void Dispose() { Dispose(true); }
    protected virtual void Dispose(bool disposing) {}
#endif
}

#if URP_17_OR_NEWER

public class UniversalResourceData : ContextItem
{
    public bool isActiveTargetBackBuffer { get; internal set; }
    public TextureHandle activeColorTexture { get; internal set; }
    public TextureHandle cameraDepthTexture { get; internal set; }
    public TextureHandle cameraNormalsTexture { get; internal set; }
    public TextureHandle motionVectorColor { get; internal set; }
}

public class UniversalCameraData : ContextItem
{
    public Camera camera;
    public RenderTextureDescriptor cameraTargetDescriptor;
}

public class UniversalRenderingData : ContextItem { public CullingResults cullResults; }

public class UniversalLightData : ContextItem {}

public static class RenderingUtils
{
    public static DrawingSettings CreateDrawingSettings
        (List<ShaderTagId> shaderTagIdList, UniversalRenderingData renderingData, UniversalCameraData cameraData,
         UniversalLightData lightData, SortingCriteria sortingCriteria)
    {
        return new DrawingSettings();
    }
}

#endif

}
