// Signatures of the part of UnityEngine.Rendering that passes of URP and HDRP use (2019.4 to 6000.0), written by hand
// from its documentation. Part of the stub of UnityEngine.

using System;
using System.Collections.Generic;

namespace Stub
{

// What a pipeline's scene holds, for the objects of a mask.
public static class Objects
{
    // Paints what is drawn on the texture that is set as target: target, layers, material.
    public static Action<UnityEngine.RenderTexture, int, UnityEngine.Material> Paint;
}

}

namespace UnityEngine.Experimental.Rendering
{

public enum GraphicsFormat { None = 0, R8G8B8A8_UNorm = 8, R16G16B16A16_SFloat = 48, B10G11R11_UFloatPack32 = 74 }

}

namespace UnityEngine
{

public struct RenderTextureDescriptor
{
    public int width { get; set; }
    public int height { get; set; }
    public int msaaSamples { get; set; }
}

}

namespace UnityEngine.Rendering
{

[Flags]
public enum CopyTextureSupport
{ None = 0, Basic = 1, Copy3D = 2, DifferentTypes = 4, TextureToRT = 8, RTToTexture = 16 }

public struct CullingResults {}

public static class RenderPipelineManager
{
    public static event Action<ScriptableRenderContext, Camera> beginCameraRendering;
    public static event Action<ScriptableRenderContext, Camera> endCameraRendering;

    internal static void StubEnd(Camera camera)
    {
        if (endCameraRendering != null) endCameraRendering(new ScriptableRenderContext(), camera);
    }

    internal static void StubBegin(Camera camera)
    {
        if (beginCameraRendering != null) beginCameraRendering(new ScriptableRenderContext(), camera);
    }
}

public struct ShaderTagId
{
    readonly string m_Name;
    public ShaderTagId(string name) { m_Name = name; }
    public string name { get { return m_Name; } }
}

[Flags]
public enum SortingCriteria { None = 0, CommonOpaque = 59, CommonTransparent = 23 }

public struct RenderQueueRange
{
    public static RenderQueueRange all { get { return new RenderQueueRange(); } }
    public static RenderQueueRange opaque { get { return new RenderQueueRange(); } }
}

public struct DrawingSettings
{
    public Material overrideMaterial { get; set; }
    public int overrideMaterialPassIndex { get; set; }
}

public struct FilteringSettings
{
    public FilteringSettings
        (RenderQueueRange? renderQueueRange = null, int layerMask = -1, uint renderingLayerMask = uint.MaxValue,
         int excludeMotionVectorObjects = 0) : this()
    {
        this.layerMask = layerMask;
    }

    public int layerMask { get; set; }
}

public struct RenderStateBlock {}

public struct ScriptableRenderContext
{
    public void ExecuteCommandBuffer(CommandBuffer commandBuffer) { commandBuffer.Execute(); }

    public void DrawRenderers
        (CullingResults cullingResults, ref DrawingSettings drawingSettings, ref FilteringSettings filteringSettings)
    {
        Stub.Objects.Paint(RenderTexture.active, filteringSettings.layerMask, drawingSettings.overrideMaterial);
    }
}

}
