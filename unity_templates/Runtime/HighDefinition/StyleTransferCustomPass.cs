using System;
using StyleTransfer.Volumes;
using UnityEngine;
using UnityEngine.Rendering;
using UnityEngine.Rendering.HighDefinition;

namespace StyleTransfer.HighDefinition
{

/// <summary>
/// Draws the style of each camera that has a <see cref="StyleTransferCamera"/>, in HDRP 10.2 and later. Add it to a
/// Custom Pass Volume with the injection point After Post Process.
/// </summary>
/// <remarks>
/// HDRP keeps a camera's textures as slices of arrays, and larger than the camera's picture where another camera
/// needs more. Our shaders read plain textures of the picture's size, so everything is copied first. Motion vectors
/// are there from HDRP 12 on.
/// </remarks>
[Serializable]
public sealed class StyleTransferCustomPass : CustomPass
{
    #region CustomPass implementation

    /// <summary>The Scene view's camera has the component where a style is to be shown there.</summary>
    protected override bool executeInSceneView => true;

    /// <summary>Called by HDRP for each camera.</summary>
    protected override void Execute(CustomPassContext ctx)
    {
        var component = StyleTransferCamera.Of(ctx.hdCamera.camera);
        if (component == null) return;

        StyleTransferVolume.Apply(ctx.hdCamera.volumeStack, component);
        if (!component.IsShowing) return;

        int width = ctx.hdCamera.actualWidth, height = ctx.hdCamera.actualHeight;
        var copies = component.Copies;
        var picture = copies.PreparePicture(width, height);
        Copy(ctx.cmd, ctx.cameraColorBuffer.rt, picture);

        var moves = CopyMotion(ctx, component, width, height);
        if (component.NeedsGuides) CopyGuides(ctx, component, width, height);
        var mask = component.NeedsMask ? DrawMask(ctx, component, width, height) : null;
        if (component.NeedsMask && mask == null) return;

        var color = ctx.cameraColorBuffer.rt;
        var result = copies.PrepareResult(color, width, height);
        var source = moves ? MotionSource.Copies : MotionSource.None;
        if (component.Record(ctx.cmd, picture, result, source, mask))
            ctx.cmd.CopyTexture(result, 0, 0, 0, 0, width, height, color, FirstSlice, 0, 0, 0);
    }

    #endregion

    #region Private methods

    // The only one, except in stereo.
    const int FirstSlice = 0;

    // The part in use of the first slice, texel by texel.
    static void Copy(CommandBuffer commands, RenderTexture source, RenderTexture target)
    {
        var scale = new Vector2((float)target.width / source.width, (float)target.height / source.height);
        commands.Blit(source, target, scale, new Vector2(0, 0), FirstSlice, 0);
    }

    static void CopyGuides(CustomPassContext ctx, StyleTransferCamera component, int width, int height)
    {
        var depth = component.Copies.PrepareDepth(width, height);
        var normals = component.Copies.PrepareNormals(width, height);
        Copy(ctx.cmd, ctx.cameraDepthBuffer.rt, depth);
        if (component.NeedsNormals) Copy(ctx.cmd, ctx.cameraNormalBuffer.rt, normals);
        component.SetGuides(GuideSource.Copies, depth, normals);
    }

#if HDRP_12_OR_NEWER

    static bool CopyMotion(CustomPassContext ctx, StyleTransferCamera component, int width, int height)
    {
        if (!component.NeedsMotion(true) || ctx.cameraMotionVectorsBuffer == null) return false;

        var depth = component.Copies.PrepareDepth(width, height);
        var motion = component.Copies.PrepareMotion(width, height);
        Copy(ctx.cmd, ctx.cameraDepthBuffer.rt, depth);
        Copy(ctx.cmd, ctx.cameraMotionVectorsBuffer.rt, motion);
        component.SetCopies(depth, motion);
        return true;
    }

#else

    static bool CopyMotion(CustomPassContext ctx, StyleTransferCamera component, int width, int height) => false;

#endif

    static RenderTexture DrawMask(CustomPassContext ctx, StyleTransferCamera component, int width, int height)
    {
        var depth = component.Copies.PrepareDepth(width, height);
        Copy(ctx.cmd, ctx.cameraDepthBuffer.rt, depth);

        var mask = component.PrepareMask(width, height, depth);
        if (mask == null) return null;

        ctx.cmd.SetRenderTarget(mask);
        ctx.cmd.ClearRenderTarget(true, true, Color.clear);
        CustomPassUtils.DrawRenderers(ctx, component.CurrentLayers, RenderQueueType.All, component.MaskMaterial);
        return mask;
    }

    #endregion
}

}
