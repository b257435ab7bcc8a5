using System.Collections.Generic;
using UnityEngine;
using UnityEngine.Rendering;
using UnityEngine.Rendering.Universal;
#if URP_17_OR_NEWER
using UnityEngine.Rendering.RenderGraphModule;
#endif

namespace StyleTransfer.Universal
{

/// <summary>
/// One camera's style in URP 7 to 17: copies the camera's picture, has the component record what to draw, and draws
/// the result over the picture. From URP 17 on in the render graph, before that and in compatibility mode by
/// commands.
/// </summary>
sealed class StyleTransferPass : ScriptableRenderPass
{
    #region Public members

    /// <summary>A pass.</summary>
    public StyleTransferPass()
    {
    #if URP_17_OR_NEWER
        // What is drawn to the screen at once cannot be read.
        requiresIntermediateTexture = true;
    #endif
    }

    /// <summary>Prepares the pass for one camera.</summary>
    /// <param name="component">the camera's component</param>
    /// <param name="renderer">the camera's renderer</param>
    /// <param name="renderingData">the camera's frame</param>
    /// <param name="afterPostProcessing">or before it</param>
    public void SetUp(StyleTransferCamera component, ScriptableRenderer renderer, ref RenderingData renderingData,
                      bool afterPostProcessing)
    {
        _component = component;
        _renderer = renderer;
        renderPassEvent = afterPostProcessing
          ? RenderPassEvent.AfterRenderingPostProcessing : RenderPassEvent.BeforeRenderingPostProcessing;

    #if URP_12_OR_NEWER
        _moves = component.NeedsMotion(true);

    #if URP_17_OR_NEWER
        var input = ScriptableRenderPassInput.None;
    #else
        // With the renderer's Intermediate Texture on Auto, URP 12 to 16 would draw to the screen at once, which cannot be
        // read.
        var input = ScriptableRenderPassInput.Color;
    #endif
        if (component.NeedsMask || component.NeedsGuides) input |= ScriptableRenderPassInput.Depth;
        if (component.NeedsNormals) input |= ScriptableRenderPassInput.Normal;
        if (_moves) input |= ScriptableRenderPassInput.Depth | ScriptableRenderPassInput.Motion;
        ConfigureInput(input);
    #else
    #if URP_10_OR_NEWER
        ConfigureInput(component.NeedsMask || component.NeedsGuides
          ? ScriptableRenderPassInput.Depth : ScriptableRenderPassInput.None);
    #endif
        // URP has no motion vectors before version 12. For the depth texture of URP 7 to 9 see DepthRequest: where a volume
        // has just changed the layers, it is there from the next frame on.
    #if URP_10_OR_NEWER
        _hasDepth = true;
    #else
        _hasDepth = renderingData.cameraData.requiresDepthTexture;
    #endif

        // Up to version 11, post-processing keeps its result in a texture only for passes of this event.
        _usesPostProcessed = afterPostProcessing && renderingData.cameraData.postProcessEnabled;
        if (_usesPostProcessed) renderPassEvent = RenderPassEvent.AfterRendering;
    #endif
    }

    #endregion

    #region Private objects

    const string Name = "Style Transfer";

    // Before URP 12, normals are in another form, which does not tell the direction of their z.
#if URP_12_OR_NEWER
    const GuideSource Guides = GuideSource.Universal;
#else
    const GuideSource Guides = GuideSource.DepthOnly;
#endif

    static readonly List<ShaderTagId> s_ShaderTags = new List<ShaderTagId>
    {
        new ShaderTagId("UniversalForward"), new ShaderTagId("UniversalForwardOnly"),
        new ShaderTagId("UniversalGBuffer"), new ShaderTagId("SRPDefaultUnlit"), new ShaderTagId("LightweightForward")
    };

    StyleTransferCamera _component;
    ScriptableRenderer _renderer;

#if URP_12_OR_NEWER
    bool _moves;
#else
    static readonly int s_AfterPostProcess = Shader.PropertyToID("_AfterPostProcessTexture");

    bool _usesPostProcessed, _hasDepth;
#endif

    #endregion

    #region Drawing

    static void Draw(StyleTransferCamera component, CommandBuffer commands, RenderTargetIdentifier color,
                     int width, int height, bool moves, Texture mask)
    {
        var picture = component.Copies.PreparePicture(width, height);
        commands.Blit(color, picture);
        component.SetGuides(Guides);
        component.Record(commands, picture, color, moves ? MotionSource.Universal : MotionSource.None, mask);
    }

    static void ClearMask(CommandBuffer commands, RenderTexture mask)
    {
        commands.SetRenderTarget(mask);
        commands.ClearRenderTarget(true, true, Color.clear);
    }

    #endregion

#if !URP_17_3_OR_NEWER

    #region By commands

    // Obsolete from URP 17 on, but what runs in its compatibility mode.
    #pragma warning disable 618, 672

    /// <summary>Called by URP when it is this pass's turn.</summary>
    public override void Execute(ScriptableRenderContext context, ref RenderingData renderingData)
    {
        // Switched off since the pass was added: what would be made now, nobody would free.
        if (!_component.IsShowing) return;

        var camera = renderingData.cameraData.cameraTargetDescriptor;
        RenderTexture mask = null;
        if (_component.NeedsMask)
        {
        #if !URP_12_OR_NEWER
            if (!_hasDepth) return;
        #endif
            mask = _component.PrepareMask(camera.width, camera.height);
            if (mask == null) return;
        }

        var commands = CommandBufferPool.Get(Name);
        if (mask != null)
        {
            ClearMask(commands, mask);
            context.ExecuteCommandBuffer(commands);
            commands.Clear();
            DrawObjects(context, ref renderingData);
        }

    #if URP_12_OR_NEWER
        var moves = _moves;
    #else
        var moves = false;
    #endif
        Draw(_component, commands, ColorTarget, camera.width, camera.height, moves, mask);
        context.ExecuteCommandBuffer(commands);
        CommandBufferPool.Release(commands);
    }

    void DrawObjects(ScriptableRenderContext context, ref RenderingData renderingData)
    {
        var drawing = CreateDrawingSettings(s_ShaderTags, ref renderingData, SortingCriteria.CommonOpaque);
        drawing.overrideMaterial = _component.MaskMaterial;
        var filtering = new FilteringSettings(RenderQueueRange.all, _component.CurrentLayers);
        context.DrawRenderers(renderingData.cullResults, ref drawing, ref filtering);
    }

    RenderTargetIdentifier ColorTarget
    {
        get
        {
        #if URP_13_OR_NEWER
            return _renderer.cameraColorTargetHandle;
        #elif URP_12_OR_NEWER
            return _renderer.cameraColorTarget;
        #else
            return _usesPostProcessed ? new RenderTargetIdentifier(s_AfterPostProcess) : _renderer.cameraColorTarget;
        #endif
        }
    }

    #pragma warning restore 618, 672

    #endregion

#endif

#if URP_17_OR_NEWER

    #region In the render graph

    sealed class GraphData
    {
        internal StyleTransferCamera Component;
        internal TextureHandle Color, Depth, Normals, Motion;
        internal RendererListHandle Objects;
        internal bool ReadsDepth, ReadsNormals, Moves, Masks;
        internal int Width, Height;
    }

    static readonly int s_DepthTexture = Shader.PropertyToID("_CameraDepthTexture");
    static readonly int s_NormalsTexture = Shader.PropertyToID("_CameraNormalsTexture");
    static readonly int s_MotionTexture = Shader.PropertyToID("_MotionVectorTexture");

    // One delegate for all frames.
    static readonly BaseRenderFunc<GraphData, UnsafeGraphContext> s_Render = Render;

    /// <summary>Called by URP when it builds the frame's graph.</summary>
    public override void RecordRenderGraph(RenderGraph renderGraph, ContextContainer frameData)
    {
        var resources = frameData.Get<UniversalResourceData>();
        if (resources.isActiveTargetBackBuffer || !_component.IsShowing) return;

        var camera = frameData.Get<UniversalCameraData>();
        var size = camera.cameraTargetDescriptor;

        // The material of the objects is made with the mask, and without either there is nothing to show.
        if (_component.NeedsMask && !(resources.cameraDepthTexture.IsValid() &&
            _component.PrepareMask(size.width, size.height) != null)) return;

        GraphData data;
        using (var builder = renderGraph.AddUnsafePass<GraphData>(Name, out data))
        {
            data.Component = _component;
            data.Width = size.width;
            data.Height = size.height;
            data.Color = resources.activeColorTexture;
            data.Depth = resources.cameraDepthTexture;
            data.Motion = resources.motionVectorColor;
            data.Masks = _component.NeedsMask;
            data.Moves = _moves && data.Motion.IsValid() && data.Depth.IsValid();
            data.Normals = resources.cameraNormalsTexture;
            data.ReadsNormals = _component.NeedsNormals && data.Normals.IsValid();
            data.ReadsDepth = data.Masks || data.Moves || (_component.NeedsGuides && data.Depth.IsValid());

            builder.UseTexture(data.Color, AccessFlags.ReadWrite);
            if (data.ReadsDepth) builder.UseTexture(data.Depth, AccessFlags.Read);
            if (data.ReadsNormals) builder.UseTexture(data.Normals, AccessFlags.Read);
            if (data.Moves) builder.UseTexture(data.Motion, AccessFlags.Read);
            if (data.Masks)
            {
                data.Objects = ListObjects(renderGraph, frameData, camera);
                builder.UseRendererList(data.Objects);
            }
            builder.AllowPassCulling(false);
            builder.AllowGlobalStateModification(true);
            builder.SetRenderFunc(s_Render);
        }
    }

    RendererListHandle ListObjects(RenderGraph renderGraph, ContextContainer frameData, UniversalCameraData camera)
    {
        var rendering = frameData.Get<UniversalRenderingData>();
        var light = frameData.Get<UniversalLightData>();
        var drawing = RenderingUtils.CreateDrawingSettings
          (s_ShaderTags, rendering, camera, light, SortingCriteria.CommonOpaque);
        drawing.overrideMaterial = _component.MaskMaterial;
        var filtering = new FilteringSettings(RenderQueueRange.all, _component.CurrentLayers);
        return renderGraph.CreateRendererList(new RendererListParams(rendering.cullResults, drawing, filtering));
    }

    static void Render(GraphData data, UnsafeGraphContext context)
    {
        if (!data.Component.IsShowing) return;

        var commands = CommandBufferHelpers.GetNativeCommandBuffer(context.cmd);
        if (data.ReadsDepth) commands.SetGlobalTexture(s_DepthTexture, data.Depth);
        if (data.ReadsNormals) commands.SetGlobalTexture(s_NormalsTexture, data.Normals);
        if (data.Moves) commands.SetGlobalTexture(s_MotionTexture, data.Motion);

        RenderTexture mask = null;
        if (data.Masks)
        {
            mask = data.Component.PrepareMask(data.Width, data.Height);
            ClearMask(commands, mask);
            commands.DrawRendererList(data.Objects);
        }
        Draw(data.Component, commands, data.Color, data.Width, data.Height, data.Moves, mask);
    }

    #endregion

#endif
}

}
