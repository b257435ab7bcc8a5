// Signatures of the part of com.unity.render-pipelines.core that the passes use, written by hand from API facts.
// URP_17_OR_NEWER adds what came with Unity 6.

using System;
using System.Collections.Generic;

namespace UnityEngine.Rendering
{

[AttributeUsage(AttributeTargets.Class)]
public class VolumeComponentMenu : Attribute { public VolumeComponentMenu(string menu) {} }

public abstract class VolumeParameter { public bool overrideState { get; set; } }

public class VolumeParameter<T> : VolumeParameter
{
    public VolumeParameter() {}
    protected VolumeParameter(T value, bool overrideState) { this.value = value; }
    public T value { get; set; }
}

public class ClampedFloatParameter : VolumeParameter<float>
{
    public ClampedFloatParameter(float value, float min, float max, bool overrideState = false) : base(value, overrideState) {}
}

public class NoInterpIntParameter : VolumeParameter<int>
{
    public NoInterpIntParameter(int value, bool overrideState = false) : base(value, overrideState) {}
}

public class TextureParameter : VolumeParameter<Texture>
{
    public TextureParameter(Texture value, bool overrideState = false) : base(value, overrideState) {}
}

public class LayerMaskParameter : VolumeParameter<LayerMask>
{
    public LayerMaskParameter(LayerMask value, bool overrideState = false) : base(value, overrideState) {}
}

public class VolumeComponent : ScriptableObject { public bool active = true; }

public sealed class VolumeStack
{
    internal VolumeStack() {}

    internal VolumeComponent blended;
    public T GetComponent<T>() where T : VolumeComponent { return blended as T; }
}

public sealed class VolumeManager
{
    VolumeManager() {}

    static readonly VolumeManager s_Instance = new VolumeManager();
    readonly VolumeStack m_Stack = new VolumeStack();
    public static VolumeManager instance { get { return s_Instance; } }
    public VolumeStack stack { get { return m_Stack; } }
}


public static class CommandBufferPool
{
    static readonly CommandBuffer s_Buffer = new CommandBuffer();

    public static CommandBuffer Get(string name) { s_Buffer.Clear(); return s_Buffer; }
    public static void Release(CommandBuffer buffer) { buffer.Clear(); }
}

public class RTHandle
{
    readonly RenderTexture m_Texture;

    internal RTHandle(RenderTexture texture) { m_Texture = texture; }
    public RenderTexture rt { get { return m_Texture; } }
    public static implicit operator RenderTargetIdentifier(RTHandle handle) { return new RenderTargetIdentifier(handle.rt); }
    public static implicit operator RenderTexture(RTHandle handle) { return handle.rt; }
    public static implicit operator Texture(RTHandle handle) { return handle.rt; }
}

#if URP_17_OR_NEWER

public class ContextItem {}

public class ContextContainer
{
    internal readonly Dictionary<Type, ContextItem> items = new Dictionary<Type, ContextItem>();
    public T Get<T>() where T : ContextItem, new() { return (T)items[typeof(T)]; }
}

public struct RendererListParams
{
    internal readonly DrawingSettings drawing;
    internal readonly FilteringSettings filtering;

    public RendererListParams(CullingResults cullingResults, DrawingSettings drawSettings, FilteringSettings filteringSettings)
    {
        drawing = drawSettings;
        filtering = filteringSettings;
    }
}

public class UnsafeCommandBuffer { internal CommandBuffer native; }

public struct CommandBufferHelpers
{
    public static CommandBuffer GetNativeCommandBuffer(UnsafeCommandBuffer baseBuffer) { return baseBuffer.native; }
}

#endif

}

#if URP_17_OR_NEWER

namespace UnityEngine.Rendering.RenderGraphModule
{

[Flags]
public enum AccessFlags { None = 0, Read = 1, Write = 2, ReadWrite = 3 }

public struct TextureHandle
{
    internal RenderTexture texture;
    public bool IsValid() { return texture != null; }
    public static implicit operator RenderTargetIdentifier(TextureHandle texture) { return new RenderTargetIdentifier(texture.texture); }
    public static implicit operator Texture(TextureHandle texture) { return texture.texture; }
    public static implicit operator RenderTexture(TextureHandle texture) { return texture.texture; }
    public static implicit operator RTHandle(TextureHandle texture) { return new RTHandle(texture.texture); }
}

public struct RendererListHandle
{
    internal RendererListParams parameters;
    public bool IsValid() { return true; }
    public static implicit operator RendererList(RendererListHandle handle)
    {
        return new RendererList { layers = handle.parameters.filtering.layerMask, material = handle.parameters.drawing.overrideMaterial };
    }
}

public class UnsafeGraphContext { public UnsafeCommandBuffer cmd; }

public delegate void BaseRenderFunc<PassData, ContextType>(PassData data, ContextType renderGraphContext)
    where PassData : class, new();

public interface IBaseRenderGraphBuilder : IDisposable
{
    void UseTexture(in TextureHandle input, AccessFlags flags = AccessFlags.Read);
    void UseRendererList(in RendererListHandle input);
    void AllowPassCulling(bool value);
    void AllowGlobalStateModification(bool value);
}

public interface IUnsafeRenderGraphBuilder : IBaseRenderGraphBuilder
{
    void SetRenderFunc<PassData>(BaseRenderFunc<PassData, UnsafeGraphContext> renderFunc) where PassData : class, new();
}

public class RenderGraph
{
    readonly CommandBuffer m_Commands;

    internal RenderGraph(CommandBuffer commands) { m_Commands = commands; }

    public IUnsafeRenderGraphBuilder AddUnsafePass<PassData>(string passName, out PassData passData)
        where PassData : class, new()
    {
        passData = new PassData();
        return new Builder<PassData>(passData, m_Commands);
    }

    public RendererListHandle CreateRendererList(in RendererListParams desc)
    {
        return new RendererListHandle { parameters = desc };
    }

    // Runs the pass as soon as it is described; a texture must be declared before it is used.
    sealed class Builder<Data> : IUnsafeRenderGraphBuilder where Data : class, new()
    {
        readonly Data m_Data;
        readonly CommandBuffer m_Commands;
        Action m_Run;
        bool m_Globals, m_Kept;

        public Builder(Data data, CommandBuffer commands) { m_Data = data; m_Commands = commands; }
        public void UseTexture(in TextureHandle input, AccessFlags flags)
        {
            if (!input.IsValid()) throw new Exception("a texture that is not there is used");
        }
        public void UseRendererList(in RendererListHandle input) {}
        public void AllowPassCulling(bool value) { m_Kept = !value; }
        public void AllowGlobalStateModification(bool value) { m_Globals = value; }

        public void SetRenderFunc<PassData>(BaseRenderFunc<PassData, UnsafeGraphContext> renderFunc) where PassData : class, new()
        {
            var context = new UnsafeGraphContext { cmd = new UnsafeCommandBuffer { native = m_Commands } };
            m_Run = () => renderFunc((PassData)(object)m_Data, context);
        }

        public void Dispose()
        {
            if (!m_Globals || !m_Kept) throw new Exception("the pass may be culled, or may not set globals");
            m_Run();
        }
    }
}

}

#endif
