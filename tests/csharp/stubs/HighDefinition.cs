// Signatures of the part of HDRP that the custom pass uses, written by hand from API facts: 10 (no define) and
// HDRP_12_OR_NEWER. What a version does not have is not here.

using System;
using UnityEngine.Rendering;

namespace UnityEngine.Rendering.HighDefinition
{

public class HDCamera
{
    internal HDCamera() {}

    public Camera camera;
    public VolumeStack volumeStack { get { return VolumeManager.instance.stack; } }
    public int actualWidth { get; internal set; }
    public int actualHeight { get; internal set; }
}

public struct CustomPassContext
{
    public readonly ScriptableRenderContext renderContext;
    public readonly CommandBuffer cmd;
    public readonly HDCamera hdCamera;
    public readonly RTHandle cameraColorBuffer;
    public readonly RTHandle cameraDepthBuffer;
    public readonly RTHandle cameraNormalBuffer;
#if HDRP_12_OR_NEWER
    public readonly RTHandle cameraMotionVectorsBuffer;
#endif

    internal CustomPassContext(CommandBuffer cmd, HDCamera hdCamera, RTHandle color, RTHandle depth, RTHandle motion)
    {
        renderContext = new ScriptableRenderContext();
        this.cmd = cmd;
        this.hdCamera = hdCamera;
        cameraColorBuffer = color;
        cameraDepthBuffer = depth;
        cameraNormalBuffer = depth;
#if HDRP_12_OR_NEWER
        cameraMotionVectorsBuffer = motion;
#endif
    }
}

[Serializable]
public abstract class CustomPass
{
    public enum RenderQueueType { OpaqueNoAlphaTest = 0, AllOpaque = 2, All = 10 }

    protected virtual bool executeInSceneView { get { return true; } }
    protected virtual void Setup(ScriptableRenderContext renderContext, CommandBuffer cmd) {}
    protected virtual void Execute(CustomPassContext ctx) {}
    protected virtual void Cleanup() {}

    internal void StubExecute(CustomPassContext ctx) { Execute(ctx); }
}

public static class CustomPassUtils
{
    public static void DrawRenderers
        (in CustomPassContext ctx, LayerMask layerMask,
         CustomPass.RenderQueueType renderQueueFilter = CustomPass.RenderQueueType.All, Material overrideMaterial = null,
         int overrideMaterialIndex = 0, RenderStateBlock overrideRenderState = default(RenderStateBlock),
         SortingCriteria sorting = SortingCriteria.CommonOpaque)
    {
        int layers = layerMask;
        ctx.cmd.StubAdd(() => Stub.Objects.Paint(RenderTexture.active, layers, overrideMaterial));
    }
}

}
