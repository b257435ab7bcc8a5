// Signatures of the part of UnityEngine (2019.4 and later) that the generated C# uses, written by hand from its
// documentation, with just enough behaviour to run the code under mono: textures hold pixels, Blit copies
// them, and everything that must be destroyed is counted. What Unity does not offer is not here.

using System;
using System.Collections.Generic;
using System.Reflection;

namespace Stub
{

// Counts what must be freed, by kind.
public static class Live
{
    static readonly Dictionary<string, int> s_Counts = new Dictionary<string, int>();

    public static void Add(string kind) { s_Counts[kind] = Count(kind) + 1; }
    public static void Remove(string kind) { s_Counts[kind] = Count(kind) - 1; }

    public static void Clear() { s_Counts.Clear(); }

    public static int Count(string kind)
    {
        int count;
        return s_Counts.TryGetValue(kind, out count) ? count : 0;
    }

    public static string Leaks()
    {
        var text = "";
        foreach (var pair in s_Counts)
            if (pair.Value != 0) text += pair.Key + ":" + pair.Value + " ";
        return text;
    }
}

// What a test sets and reads.
public static class World
{
    public static readonly List<string> Logs = new List<string>();
    public static int Blits;
    public static int Sweeps;
    public static int GpuWaits;

    // How often each marker of the profiler was entered.
    public static readonly Dictionary<string, int> Samples = new Dictionary<string, int>();

    // The frame that is drawn, and how many more a read-back takes.
    public static int Frame, ReadbackFrames;

    // A shader that nothing refers to, so that the player does not have it.
    public static string LostShader;

    // Draws are counted, not made: for cases of many frames.
    public static bool Blind;
    public static int? ExitCode;

    // Stands for the GPU: what a pass of a material makes of a source, as a function of u and v.
    public static Func<UnityEngine.Texture, UnityEngine.Material, int, UnityEngine.RenderTexture,
                       Func<float, float, float[]>> Shade;

    // What a camera with a replacement shader draws.
    public static Action<UnityEngine.Camera> Replace;

    public static int LogCount(string part)
    {
        var count = 0;
        foreach (var line in Logs) if (line.Contains(part)) count++;
        return count;
    }
}

public static class Reflect
{
    const BindingFlags Flags =
        BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    // A serialised field by the name that stands in YAML.
    public static void Set(object target, string name, object value)
    {
        for (var type = target.GetType(); type != null; type = type.BaseType)
        {
            var field = type.GetField(name, Flags);
            if (field == null) continue;
            field.SetValue(target, value);
            return;
        }
        throw new Exception(target.GetType().Name + " has no field " + name);
    }

    // Calls the methods that Unity calls by themselves before the first scene.
    public static void Start(Type type)
    {
        var flags = BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic;
        foreach (var method in type.GetMethods(flags))
            if (method.IsDefined(typeof(UnityEngine.RuntimeInitializeOnLoadMethodAttribute), false))
                method.Invoke(null, null);
    }

    // A message as Unity sends it: private or inherited does not matter.
    public static void Send(object target, string name, params object[] arguments)
    {
        for (var type = target.GetType(); type != null; type = type.BaseType)
        {
            var method = type.GetMethod(name, Flags);
            if (method == null) continue;
            method.Invoke(target, arguments);
            return;
        }
        throw new Exception(target.GetType().Name + " has no message " + name);
    }
}

}

namespace Unity.Collections
{

public enum Allocator { Invalid = 0, None = 1, Temp = 2, TempJob = 3, Persistent = 4 }

public enum NativeArrayOptions { UninitializedMemory = 0, ClearMemory = 1 }

public struct NativeArray<T> : IDisposable where T : struct
{
    T[] m_Items;
    bool m_Owned;

    internal NativeArray(T[] items) { m_Items = items; m_Owned = false; }

    public NativeArray(int length, Allocator allocator, NativeArrayOptions options = NativeArrayOptions.ClearMemory)
    {
        m_Items = new T[length];
        m_Owned = true;
        Stub.Live.Add("NativeArray");
    }

    public static void Copy(NativeArray<T> src, T[] dst, int length) => Array.Copy(src.m_Items, dst, length);

    internal T[] Items { get { return m_Items; } }
    public int Length { get { return m_Items.Length; } }
    public bool IsCreated { get { return m_Items != null; } }
    public T this[int index] { get { return m_Items[index]; } set { m_Items[index] = value; } }

    public void Dispose()
    {
        if (m_Items == null) throw new ObjectDisposedException("NativeArray");
        if (m_Owned) Stub.Live.Remove("NativeArray");
        m_Items = null;
    }

    public ReadOnly AsReadOnly() { return new ReadOnly(m_Items); }

    public struct ReadOnly
    {
        readonly T[] m_Items;
        internal ReadOnly(T[] items) { m_Items = items; }
        public int Length { get { return m_Items.Length; } }
        public T this[int index] { get { return m_Items[index]; } }
    }
}

}

namespace Unity.Profiling
{

// Counts what is open, and how often each was.
public struct ProfilerMarker
{
    readonly string m_Name;

    public ProfilerMarker(string name) { m_Name = name; }
    public AutoScope Auto() { return new AutoScope(m_Name); }

    public struct AutoScope : IDisposable
    {
        internal AutoScope(string name)
        {
            Stub.Live.Add("profiler sample");
            int count;
            Stub.World.Samples.TryGetValue(name, out count);
            Stub.World.Samples[name] = count + 1;
        }

        public void Dispose() { Stub.Live.Remove("profiler sample"); }
    }
}

}

namespace UnityEngine.Scripting
{

[AttributeUsage(AttributeTargets.Assembly)]
public sealed class AlwaysLinkAssemblyAttribute : Attribute {}

[AttributeUsage(AttributeTargets.Assembly | AttributeTargets.Class | AttributeTargets.Struct | AttributeTargets.Enum |
                AttributeTargets.Constructor | AttributeTargets.Method | AttributeTargets.Property |
                AttributeTargets.Field | AttributeTargets.Event | AttributeTargets.Interface |
                AttributeTargets.Delegate, Inherited = false)]
public class PreserveAttribute : Attribute {}

}

namespace UnityEngine.Rendering
{

public enum GraphicsDeviceType
{
    Direct3D11 = 2, Null = 4, OpenGLES2 = 8, OpenGLES3 = 11, Metal = 16, OpenGLCore = 17, Direct3D12 = 18, Vulkan = 21
}

public abstract class RenderPipelineAsset : ScriptableObject {}

public struct AsyncGPUReadbackRequest
{
    internal int readyAt;
    internal Array data;

    public Unity.Collections.NativeArray<T> GetData<T>(int layer = 0) where T : struct
      => new Unity.Collections.NativeArray<T>((T[])data);

    public bool done { get { return Stub.World.Frame >= readyAt; } }
    public bool hasError { get { return false; } }

    public void WaitForCompletion()
    {
        Stub.World.GpuWaits++;
        readyAt = 0;
    }
}

public static partial class AsyncGPUReadback
{
    public static AsyncGPUReadbackRequest Request
        (Texture src, int mipIndex = 0, Action<AsyncGPUReadbackRequest> callback = null)
    {
        if (!SystemInfo.supportsAsyncGPUReadback) throw new NotSupportedException();
        if (!((RenderTexture)src).IsCreated()) throw new Exception("read back of a texture that is not created");
        return default(AsyncGPUReadbackRequest);
    }

    // The values are those of now, whenever they arrive.
    public static AsyncGPUReadbackRequest RequestIntoNativeArray<T>
        (ref Unity.Collections.NativeArray<T> output, Texture src, int mipIndex, TextureFormat dstFormat,
         Action<AsyncGPUReadbackRequest> callback = null) where T : struct
    {
        Request(src);
        var pixels = (Color32[])(object)output.Items;
        for (var i = 0; i < pixels.Length; i++)
            pixels[i] = new Color32(Byte(src.texels[4 * i]), Byte(src.texels[4 * i + 1]), Byte(src.texels[4 * i + 2]), 255);
        return new AsyncGPUReadbackRequest { readyAt = Stub.World.Frame + Stub.World.ReadbackFrames };
    }

    static byte Byte(float value) { return (byte)(Mathf.Clamp01(value) * 255 + 0.5f); }
}

public struct RenderTargetIdentifier
{
    readonly Texture m_Texture;
    readonly int m_Name;

    public RenderTargetIdentifier(Texture tex) { m_Texture = tex; m_Name = -1; }
    public RenderTargetIdentifier(int nameID) { m_Texture = null; m_Name = nameID; }
    public static implicit operator RenderTargetIdentifier(Texture tex) { return new RenderTargetIdentifier(tex); }

    internal Texture texture
    {
        get { return m_Texture != null ? m_Texture : m_Name < 0 ? null : (Texture)Shader.Global(m_Name); }
    }
}

public struct RendererList
{
    internal int layers;
    internal Material material;
}

// Commands are kept and carried out later, with the materials' properties of then.
public partial class CommandBuffer : IDisposable
{
    readonly List<Action> m_Commands = new List<Action>();

    public CommandBuffer() { Stub.Live.Add("CommandBuffer"); }

    public string name { get; set; }

    public void Blit(Texture source, RenderTargetIdentifier dest, Material mat, int pass)
    {
        m_Commands.Add(() => Graphics.Blit(source, (RenderTexture)dest.texture, mat, pass));
    }

    public void Blit(RenderTargetIdentifier source, RenderTargetIdentifier dest)
    {
        m_Commands.Add(() => Graphics.Blit(source.texture, (RenderTexture)dest.texture));
    }

    public void Blit(RenderTargetIdentifier source, RenderTargetIdentifier dest, Material mat, int pass)
    {
        m_Commands.Add(() => Graphics.Blit(source.texture, (RenderTexture)dest.texture, mat, pass));
    }

    // The part of the source that scale and offset name, over the whole target.
    public void Blit
        (RenderTargetIdentifier source, RenderTargetIdentifier dest, Vector2 scale, Vector2 offset,
         int sourceDepthSlice, int destDepthSlice)
    {
        StubAdd(() => Graphics.StubCopy(source.texture, (RenderTexture)dest.texture, scale, offset));
    }

    public void CopyTexture
        (RenderTargetIdentifier src, int srcElement, int srcMip, int srcX, int srcY, int srcWidth, int srcHeight,
         RenderTargetIdentifier dst, int dstElement, int dstMip, int dstX, int dstY)
    {
        StubAdd(() => Graphics.CopyTexture((Texture)src.texture, srcElement, srcMip, srcX, srcY, srcWidth, srcHeight,
                                           (Texture)dst.texture, dstElement, dstMip, dstX, dstY));
    }

    public void SetRenderTarget(RenderTargetIdentifier rt)
    {
        StubAdd(() => RenderTexture.active = (RenderTexture)rt.texture);
    }

    public void ClearRenderTarget(bool clearDepth, bool clearColor, Color backgroundColor)
    {
        StubAdd(() => Array.Clear(RenderTexture.active.texels, 0, RenderTexture.active.texels.Length));
    }

    public void SetGlobalTexture(int nameID, RenderTargetIdentifier value)
    {
        StubAdd(() => Shader.SetGlobal(nameID, value.texture));
    }

    public void DrawRendererList(RendererList rendererList)
    {
        StubAdd(() => Stub.Objects.Paint(RenderTexture.active, rendererList.layers, rendererList.material));
    }

    internal void StubAdd(Action command) { m_Commands.Add(command); }

    public void Clear() { m_Commands.Clear(); }
    public void Dispose() { Stub.Live.Remove("CommandBuffer"); }
    public void Release() { Dispose(); }
    internal void Execute() { foreach (var command in m_Commands) command(); }
}

public sealed class GraphicsSettings : Object
{
    public static RenderPipelineAsset renderPipelineAsset { get; set; }
    public static RenderPipelineAsset currentRenderPipeline { get { return renderPipelineAsset; } }
}

}

namespace UnityEngine
{

#region Attributes

public enum RuntimeInitializeLoadType
{
    AfterSceneLoad = 0, BeforeSceneLoad = 1, AfterAssembliesLoaded = 2, BeforeSplashScreen = 3, SubsystemRegistration = 4
}

[AttributeUsage(AttributeTargets.Method)]
public sealed class RuntimeInitializeOnLoadMethodAttribute : Attribute
{
    public RuntimeInitializeOnLoadMethodAttribute(RuntimeInitializeLoadType loadType) {}
}

[AttributeUsage(AttributeTargets.Field)]
public sealed class SerializeField : Attribute {}

[AttributeUsage(AttributeTargets.Field)]
public abstract class PropertyAttribute : Attribute {}

public class TooltipAttribute : PropertyAttribute { public TooltipAttribute(string tooltip) {} }

public class HeaderAttribute : PropertyAttribute { public HeaderAttribute(string header) {} }

public sealed class RangeAttribute : PropertyAttribute { public RangeAttribute(float min, float max) {} }

[AttributeUsage(AttributeTargets.Class)]
public sealed class CreateAssetMenuAttribute : Attribute
{
    public string menuName { get; set; }
    public string fileName { get; set; }
    public int order { get; set; }
}

[AttributeUsage(AttributeTargets.Class, AllowMultiple = true)]
public sealed class RequireComponent : Attribute { public RequireComponent(Type requiredComponent) {} }

[AttributeUsage(AttributeTargets.Class)]
public sealed class ExecuteAlways : Attribute {}

[AttributeUsage(AttributeTargets.Class)]
public sealed class DefaultExecutionOrder : Attribute { public DefaultExecutionOrder(int order) {} }

[AttributeUsage(AttributeTargets.Class)]
public sealed class AddComponentMenu : Attribute
{
    public AddComponentMenu(string menuName) {}
    public AddComponentMenu(string menuName, int order) {}
}

#endregion

#region Numbers

public struct Mathf
{
    public static float Abs(float f) { return Math.Abs(f); }
    public static int Max(int a, int b) { return a > b ? a : b; }
    public static float Max(float a, float b) { return a > b ? a : b; }
    public static int Clamp(int value, int min, int max) { return value < min ? min : value > max ? max : value; }
    public static float Clamp(float value, float min, float max) { return value < min ? min : value > max ? max : value; }
    public static float Min(float a, float b) { return a < b ? a : b; }
    public static int Min(int a, int b) { return a < b ? a : b; }
    public static float Clamp01(float value) { return value < 0 ? 0 : value > 1 ? 1 : value; }
    public const float PI = (float)Math.PI;
    public static float Sin(float f) { return (float)Math.Sin(f); }
    public static float Cos(float f) { return (float)Math.Cos(f); }
    public static float Lerp(float a, float b, float t) { return a + (b - a) * Clamp01(t); }
    public static float Repeat(float t, float length) { return Clamp(t - (float)Math.Floor(t / length) * length, 0, length); }
    public static int FloorToInt(float f) { return (int)Math.Floor(f); }
    public static int CeilToInt(float f) { return (int)Math.Ceiling(f); }
    public static float Sqrt(float f) { return (float)Math.Sqrt(f); }
}

public struct Vector2
{
    public float x, y;
    public Vector2(float x, float y) { this.x = x; this.y = y; }
    public static Vector2 one { get { return new Vector2(1, 1); } }
    public static Vector2 operator -(Vector2 a, Vector2 b) { return new Vector2(a.x - b.x, a.y - b.y); }
    public static Vector2 operator *(Vector2 a, float d) { return new Vector2(a.x * d, a.y * d); }
}

public struct Matrix4x4
{
    float m00, m01, m02, m03, m10, m11, m12, m13, m20, m21, m22, m23, m30, m31, m32, m33;
    public static Matrix4x4 zero { get { return new Matrix4x4(); } }
    public float this[int row, int column]
    {
        get
        {
            switch (4 * row + column)
            {
                case 0: return m00; case 1: return m01; case 2: return m02; case 3: return m03;
                case 4: return m10; case 5: return m11; case 6: return m12; case 7: return m13;
                case 8: return m20; case 9: return m21; case 10: return m22; case 11: return m23;
                case 12: return m30; case 13: return m31; case 14: return m32; case 15: return m33;
                default: throw new IndexOutOfRangeException();
            }
        }
        set
        {
            switch (4 * row + column)
            {
                case 0: m00 = value; break; case 1: m01 = value; break;
                case 2: m02 = value; break; case 3: m03 = value; break;
                case 4: m10 = value; break; case 5: m11 = value; break;
                case 6: m12 = value; break; case 7: m13 = value; break;
                case 8: m20 = value; break; case 9: m21 = value; break;
                case 10: m22 = value; break; case 11: m23 = value; break;
                case 12: m30 = value; break; case 13: m31 = value; break;
                case 14: m32 = value; break; case 15: m33 = value; break;
                default: throw new IndexOutOfRangeException();
            }
        }
    }
    public static Matrix4x4 operator *(Matrix4x4 lhs, Matrix4x4 rhs) { return lhs; }
}

public struct Color
{
    public float r, g, b, a;

    public Color(float r, float g, float b, float a = 1)
    {
        this.r = r;
        this.g = g;
        this.b = b;
        this.a = a;
    }

    public static Color clear { get { return new Color(); } }

    public float this[int index]
    {
        get { return index == 0 ? r : index == 1 ? g : index == 2 ? b : a; }
        set
        {
            if (index < 0 || index > 3) throw new IndexOutOfRangeException("Invalid Color index");
            if (index == 0) r = value;
            else if (index == 1) g = value;
            else if (index == 2) b = value;
            else a = value;
        }
    }
}

public struct LayerMask
{
    int m_Mask;
    public int value { get { return m_Mask; } set { m_Mask = value; } }
    public static implicit operator int(LayerMask mask) { return mask.m_Mask; }
    public static implicit operator LayerMask(int intVal) { return new LayerMask { m_Mask = intVal }; }
}

public struct Vector4
{
    public float x, y, z, w;
    public Vector4(float x, float y, float z, float w) { this.x = x; this.y = y; this.z = z; this.w = w; }
    public static Vector4 zero { get { return new Vector4(0, 0, 0, 0); } }
    public static Vector4 one { get { return new Vector4(1, 1, 1, 1); } }
}

public struct Vector3
{
    public float x, y, z;
    public Vector3(float x, float y, float z) { this.x = x; this.y = y; this.z = z; }
    public static Vector3 operator +(Vector3 a, Vector3 b) { return new Vector3(a.x + b.x, a.y + b.y, a.z + b.z); }
}

public struct Vector2Int
{
    public Vector2Int(int x, int y) : this() { this.x = x; this.y = y; }
    public int x { get; set; }
    public int y { get; set; }
}

public struct Rect
{
    public Rect(float x, float y, float width, float height) : this()
    {
        this.x = x;
        this.y = y;
        this.width = width;
        this.height = height;
    }

    public float x { get; set; }
    public float y { get; set; }
    public float width { get; set; }
    public float height { get; set; }
}

public struct Color32
{
    public byte r, g, b, a;
    public Color32(byte r, byte g, byte b, byte a) { this.r = r; this.g = g; this.b = b; this.a = a; }
}

public enum ColorSpace { Uninitialized = -1, Gamma = 0, Linear = 1 }
public enum FilterMode { Point = 0, Bilinear = 1, Trilinear = 2 }
public enum TextureWrapMode { Repeat = 0, Clamp = 1 }
public enum TextureFormat { RGBA32 = 4, RGBAFloat = 20 }
public enum RenderTextureFormat { ARGB32 = 0, ARGBHalf = 2, ARGB64 = 10, ARGBFloat = 11, RGHalf = 13, RFloat = 14 }
public enum RenderTextureReadWrite { Default = 0, Linear = 1, sRGB = 2 }

public enum CameraClearFlags { Skybox = 1, SolidColor = 2, Depth = 3, Nothing = 4 }
public enum RenderingPath { UsePlayerSettings = -1, VertexLit = 0, Forward = 1, DeferredShading = 3 }

[Flags]
public enum DepthTextureMode { None = 0, Depth = 1, DepthNormals = 2, MotionVectors = 4 }

[Flags]
public enum HideFlags { None = 0, HideAndDontSave = 61 }

#endregion

#region Objects

public class Object
{
    bool m_Destroyed;

    public string name { get; set; }
    public HideFlags hideFlags { get; set; }

    internal virtual string Kind { get { return null; } }
    internal void Track() { if (Kind != null) Stub.Live.Add(Kind); }

    public static void Destroy(Object obj)
    {
        if (!Application.isPlaying) throw new Exception("Destroy may not be called from edit mode");
        DestroyImmediate(obj);
    }

    public static void DestroyImmediate(Object obj)
    {
        if (obj.m_Destroyed) throw new Exception("destroyed twice");
        var script = obj as MonoBehaviour;
        if (!ReferenceEquals(script, null) && script.owner != null)
        {
            Stub.Reflect.Send(script, "OnDisable");
            script.owner.components.Remove(script);
        }
        obj.m_Destroyed = true;
        if (obj.Kind != null) Stub.Live.Remove(obj.Kind);
    }

    static bool IsNull(Object x) { return ReferenceEquals(x, null) || x.m_Destroyed; }

    public static bool operator ==(Object x, Object y)
    {
        return IsNull(x) || IsNull(y) ? IsNull(x) && IsNull(y) : ReferenceEquals(x, y);
    }

    public static bool operator !=(Object x, Object y) { return !(x == y); }
    public override bool Equals(object other) { return this == (other as Object); }
    public override int GetHashCode() { return 0; }
    public static implicit operator bool(Object exists) { return !IsNull(exists); }
}

public class ScriptableObject : Object
{
    public static T CreateInstance<T>() where T : ScriptableObject { return Activator.CreateInstance<T>(); }
}

public class TextAsset : Object
{
    readonly byte[] m_Bytes;

    internal TextAsset(byte[] bytes) { m_Bytes = bytes; }

    // A copy each time, from the main thread alone.
    public byte[] bytes { get { return (byte[])m_Bytes.Clone(); } }
}

public sealed class Transform : Component
{
    internal Vector3 lookedAt;
    public Vector3 position { get; set; }
    public Vector3 localPosition { get; set; }
    public void Rotate(float xAngle, float yAngle, float zAngle) {}
    public void LookAt(Vector3 worldPosition) { lookedAt = worldPosition; }
}

public class Component : Object
{
    Transform m_Transform;
    public Transform transform { get { return m_Transform ?? (m_Transform = new Transform()); } }

    internal GameObject owner;

    public GameObject gameObject { get { return owner ?? (owner = new GameObject(this)); } }
    public T GetComponent<T>() { return gameObject.GetComponent<T>(); }
}

public sealed class GameObject : Object
{
    internal readonly List<Component> components = new List<Component>();
    readonly bool m_Tracked;

    public GameObject() {}

    public GameObject(string name)
    {
        this.name = name;
        m_Tracked = true;
        Track();
    }

    // What stands in a scene is not the code's to destroy.
    internal GameObject(Component first) { components.Add(first); }

    internal override string Kind { get { return m_Tracked ? "GameObject" : null; } }

    public T[] GetComponentsInChildren<T>(bool includeInactive)
    {
        var found = new List<T>();
        foreach (var component in components) if (component is T) found.Add((T)(object)component);
        return found.ToArray();
    }

    public T AddComponent<T>() where T : Component
    {
        var component = Activator.CreateInstance<T>();
        component.owner = this;
        components.Add(component);
        return component;
    }

    // In edit mode scripts with ExecuteAlways are enabled at once.
    public Component AddComponent(Type componentType)
    {
        var component = (Component)Activator.CreateInstance(componentType);
        component.owner = this;
        components.Add(component);
        Stub.Reflect.Send(component, "OnEnable");
        return component;
    }

    public T GetComponent<T>()
    {
        foreach (var component in components)
            if (component is T) return (T)(object)component;
        return default(T);
    }
}

public class Behaviour : Component
{
    bool m_Enabled = true;

    public bool enabled { get { return m_Enabled; } set { m_Enabled = value; } }
    public bool isActiveAndEnabled { get { return m_Enabled; } }
}

public class MonoBehaviour : Behaviour {}

public enum CameraType { Game = 1, SceneView = 2, Preview = 4, VR = 8, Reflection = 16 }

public sealed class Camera : Behaviour
{
    public CameraType cameraType { get; set; } = CameraType.Game;
    float m_Near = 0.3f, m_Far = 1000;
    int m_Culling = -1;

    public float nearClipPlane { get { return m_Near; } set { m_Near = value; } }
    public float farClipPlane { get { return m_Far; } set { m_Far = value; } }
    public bool orthographic { get; set; }
    public int pixelWidth { get { return 1920; } }
    public int pixelHeight { get { return 1080; } }
    public Matrix4x4 projectionMatrix { get; set; }
    public Matrix4x4 worldToCameraMatrix { get { return new Matrix4x4(); } }
    public DepthTextureMode depthTextureMode { get; set; }
    public int cullingMask { get { return m_Culling; } set { m_Culling = value; } }
    public CameraClearFlags clearFlags { get; set; }
    public Color backgroundColor { get; set; }
    public Rect rect { get; set; }
    public RenderTexture targetTexture { get; set; }
    public RenderingPath renderingPath { get; set; }
    public bool allowMSAA { get; set; }
    public bool allowHDR { get; set; }

    public void CopyFrom(Camera other)
    {
        m_Near = other.m_Near;
        m_Far = other.m_Far;
        m_Culling = other.m_Culling;
        depthTextureMode = other.depthTextureMode;
        targetTexture = other.targetTexture;
    }

    public void RenderWithShader(Shader shader, string replacementTag)
    {
        if (enabled || shader == null || targetTexture == null) throw new Exception("camera is not set up");
        Stub.World.Replace(this);
    }
}

public sealed class GL
{
    public static Matrix4x4 GetGPUProjectionMatrix(Matrix4x4 proj, bool renderIntoTexture) { return proj; }
}

public class Time
{
    internal static float now;
    public static float realtimeSinceStartup { get { return now; } }
    static float s_Delta = 1 / 60f;
    public static float time { get { return now; } }
    public static float deltaTime { get { return s_Delta; } }
    public static float unscaledDeltaTime { get { return s_Delta; } internal set { s_Delta = value; } }
}

public sealed class Shader : Object
{
    static readonly List<string> s_Names = new List<string>();

    internal static readonly Dictionary<string, object> globals = new Dictionary<string, object>();

    public static Shader Find(string name)
    {
        return name.StartsWith("Hidden/StyleTransfer/") && name != Stub.World.LostShader ? new Shader { name = name } : null;
    }

    internal static object Global(int nameID) { return globals[s_Names[nameID]]; }
    internal static void SetGlobal(int nameID, object value) { globals[s_Names[nameID]] = value; }
    public static void SetGlobalVector(int nameID, Vector4 value) { globals[s_Names[nameID]] = value; }
    public static void SetGlobalMatrix(int nameID, Matrix4x4 value) { globals[s_Names[nameID]] = value; }

    public static int PropertyToID(string name)
    {
        if (!s_Names.Contains(name)) s_Names.Add(name);
        return s_Names.IndexOf(name);
    }

    internal static string StubName(int nameID) { return s_Names[nameID]; }
}

public class Material : Object
{
    readonly Dictionary<int, object> m_Values = new Dictionary<int, object>();

    public Material(Shader shader)
    {
        if (shader == null) throw new ArgumentNullException("shader");
        this.shader = shader;
        Track();
    }

    public Shader shader { get; set; }

    internal override string Kind { get { return "Material"; } }

    public void SetFloat(int nameID, float value) { m_Values[nameID] = value; }
    public void SetVector(int nameID, Vector4 value) { m_Values[nameID] = value; }
    public void SetTexture(int nameID, Texture value) { m_Values[nameID] = value; }
    public void SetMatrix(int nameID, Matrix4x4 value) { m_Values[nameID] = value; }

    internal object Value(string name)
    {
        object value;
        if (m_Values.TryGetValue(Shader.PropertyToID(name), out value)) return value;
        Shader.globals.TryGetValue(name, out value);
        return value;
    }
}

public class Texture : Object
{
    // r, g, b, a per texel; row 0 is the bottom.
    internal float[] texels;
    internal bool sRGB;

    public virtual int width { get; set; }
    public virtual int height { get; set; }
    public uint updateCount { get; internal set; }
    public FilterMode filterMode { get; set; }
    public TextureWrapMode wrapMode { get; set; }
    public virtual bool isReadable { get; internal set; }

    internal void Sample(float u, float v, float[] color)
    {
        var x = Mathf.Clamp((int)(u * width), 0, width - 1);
        var y = Mathf.Clamp((int)(v * height), 0, height - 1);
        Array.Copy(texels, (y * width + x) * 4, color, 0, 4);
    }
}

public class Texture2D : Texture
{
    readonly bool m_Precise;
    Color32[] m_Pixels;

    public Texture2D(int width, int height, TextureFormat textureFormat, bool mipChain, bool linear)
    {
        this.width = width;
        this.height = height;
        texels = new float[width * height * 4];
        m_Pixels = new Color32[width * height];
        m_Precise = textureFormat == TextureFormat.RGBAFloat;
        isReadable = true;
        Track();
    }

    internal override string Kind { get { return "Texture2D"; } }

    public void ReadPixels(Rect source, int destX, int destY, bool recalculateMipMaps)
    {
        var active = RenderTexture.active;
        if (active == null) throw new Exception("no active render texture");
        if (source.width != width || source.height != height) throw new Exception("sizes differ");
        if (m_Precise)
        {
            Array.Copy(active.texels, texels, texels.Length);
            return;
        }
        for (var i = 0; i < m_Pixels.Length; i++)
            m_Pixels[i] = new Color32(Byte(active.texels[4 * i]), Byte(active.texels[4 * i + 1]),
                                      Byte(active.texels[4 * i + 2]), 255);
    }

    public Unity.Collections.NativeArray<T> GetRawTextureData<T>() where T : struct
    {
        return new Unity.Collections.NativeArray<T>((T[])(object)m_Pixels);
    }

    public Color[] GetPixels()
    {
        var colors = new Color[width * height];
        for (var i = 0; i < colors.Length; i++)
            colors[i] = new Color(texels[4 * i], texels[4 * i + 1], texels[4 * i + 2], texels[4 * i + 3]);
        return colors;
    }

    public void SetPixels(Color[] colors)
    {
        for (var i = 0; i < colors.Length; i++)
        {
            texels[4 * i] = colors[i].r;
            texels[4 * i + 1] = colors[i].g;
            texels[4 * i + 2] = colors[i].b;
            texels[4 * i + 3] = colors[i].a;
        }
    }

    public Color32[] GetPixels32() { return (Color32[])m_Pixels.Clone(); }
    public void SetPixels32(Color32[] colors) { m_Pixels = (Color32[])colors.Clone(); }

    public void Apply(bool updateMipmaps)
    {
        if (m_Precise) return;
        for (var i = 0; i < m_Pixels.Length; i++)
        {
            texels[4 * i] = m_Pixels[i].r / 255f;
            texels[4 * i + 1] = m_Pixels[i].g / 255f;
            texels[4 * i + 2] = m_Pixels[i].b / 255f;
            texels[4 * i + 3] = m_Pixels[i].a / 255f;
        }
    }

    static byte Byte(float value) { return (byte)(Mathf.Clamp01(value) * 255 + 0.5f); }
}

public class Texture3D : Texture {}

public class RenderTexture : Texture
{
    bool m_Created;

    public RenderTexture(int width, int height, int depth, RenderTextureFormat format, RenderTextureReadWrite readWrite)
    {
        this.width = width;
        this.height = height;
        this.format = format;
        sRGB = readWrite == RenderTextureReadWrite.sRGB;
        texels = new float[width * height * 4];
        Track();
    }

    public RenderTexture(int width, int height, int depth, Experimental.Rendering.GraphicsFormat format)
        : this(width, height, depth, RenderTextureFormat.ARGBHalf, RenderTextureReadWrite.Linear)
    {
        graphicsFormat = format;
    }

    public static RenderTexture GetTemporary
        (int width, int height, int depthBuffer, RenderTextureFormat format, RenderTextureReadWrite readWrite)
    {
        return new RenderTexture(width, height, depthBuffer, format, readWrite);
    }

    public static void ReleaseTemporary(RenderTexture temp)
    {
        if (active == temp) throw new Exception("released while it is active");
        DestroyImmediate(temp);
    }

    public Experimental.Rendering.GraphicsFormat graphicsFormat { get; set; }

    internal override string Kind { get { return "RenderTexture"; } }

    public static RenderTexture active { get; set; }
    public RenderTextureFormat format { get; set; }
    public bool enableRandomWrite { get; set; }
    public bool IsCreated() { return m_Created; }

    public bool Create()
    {
        if (enableRandomWrite && !SystemInfo.supportsComputeShaders) throw new Exception("no random write here");
        if (!m_Created) Stub.Live.Add("video memory");
        return m_Created = true;
    }

    public void Release()
    {
        if (m_Created) Stub.Live.Remove("video memory");
        m_Created = false;
    }
}

public class Graphics
{
    public static void ExecuteCommandBuffer(Rendering.CommandBuffer buffer) { buffer.Execute(); }

    public static void CopyTexture
        (Texture src, int srcElement, int srcMip, int srcX, int srcY, int srcWidth, int srcHeight,
         Texture dst, int dstElement, int dstMip, int dstX, int dstY)
    {
        RenderTexture from = (RenderTexture)src, to = (RenderTexture)dst;
        var named = from.graphicsFormat != Experimental.Rendering.GraphicsFormat.None;
        if (from.graphicsFormat != to.graphicsFormat || !named && from.format != to.format)
            throw new Exception("formats differ");
        if (dstX + srcWidth > to.width || dstY + srcHeight > to.height) throw new Exception("beyond the texture");
        if (from == to) throw new Exception("a texture is copied on itself");
        for (var y = 0; y < srcHeight; y++)
            Array.Copy(from.texels, ((srcY + y) * from.width + srcX) * 4, to.texels, ((dstY + y) * to.width + dstX) * 4,
                       srcWidth * 4);
    }

    public static void Blit(Texture source, RenderTexture dest) { Draw(source, dest, null, 0); }
    public static void Blit(Texture source, RenderTexture dest, Material mat, int pass) { Draw(source, dest, mat, pass); }

    public static void Blit(Texture source, RenderTexture dest, Vector2 scale, Vector2 offset)
    {
        RenderTexture.active = dest;
        StubCopy(source, dest, scale, offset);
    }

    internal static void StubCopy(Texture source, RenderTexture dest, Vector2 scale, Vector2 offset)
    {
        for (var y = 0; y < dest.height; y++)
        {
            for (var x = 0; x < dest.width; x++)
            {
                var color = new float[4];
                source.Sample((x + 0.5f) / dest.width * scale.x + offset.x, (y + 0.5f) / dest.height * scale.y + offset.y, color);
                Array.Copy(color, 0, dest.texels, (y * dest.width + x) * 4, 4);
            }
        }
    }


    static void Draw(Texture source, RenderTexture dest, Material material, int pass)
    {
        if (source == null) throw new Exception("blit of nothing");
        Stub.World.Blits++;
        RenderTexture.active = dest;
        if (source == dest) throw new Exception("a texture is read and drawn on at once");
        if (dest == null || Stub.World.Blind) return;
        var color = new float[4];
        var shade = material == null ? null : Stub.World.Shade(source, material, pass, dest);
        for (var y = 0; y < dest.height; y++)
        {
            for (var x = 0; x < dest.width; x++)
            {
                float u = (x + 0.5f) / dest.width, v = (y + 0.5f) / dest.height;
                if (material == null)
                    source.Sample(u, v, color);
                else
                    color = shade(u, v);
                Array.Copy(color, 0, dest.texels, (y * dest.width + x) * 4, 4);
            }
        }
    }
}

public class AsyncOperation {}

public sealed class Resources
{
    public static AsyncOperation UnloadUnusedAssets()
    {
        Stub.World.Sweeps++;
        return null;
    }
}

#endregion

#region Machine

public class Debug
{
    public static void Log(object message) { Stub.World.Logs.Add("log " + message); }
    public static void LogWarning(object message) { Stub.World.Logs.Add("warning " + message); }
    public static void Log(object message, Object context) { Stub.World.Logs.Add("log " + message); }
    public static void LogWarning(object message, Object context) { Stub.World.Logs.Add("warning " + message); }
    public static void LogException(Exception exception, Object context) { Stub.World.Logs.Add("error " + exception); }
    public static void LogError(object message) { Stub.World.Logs.Add("error " + message); }
    public static void LogError(object message, Object context) { Stub.World.Logs.Add("error " + message); }
}

public enum RuntimePlatform { OSXEditor = 0, WindowsPlayer = 2, WindowsEditor = 7, Android = 11, LinuxPlayer = 13, LinuxEditor = 16 }

public sealed class Screen
{
    public static int width { get { return 1280; } }
    public static int height { get { return 720; } }
}

public class Application
{
    static bool s_Playing = true, s_Batch;
    public static bool isPlaying { get { return s_Playing; } internal set { s_Playing = value; } }
    public static bool isBatchMode { get { return s_Batch; } internal set { s_Batch = value; } }
    public static bool isEditor { get { return false; } }
    public static string persistentDataPath { get { return "."; } }
    public static string unityVersion { get { return "2021.3.24f1"; } }
    public static RuntimePlatform platform { get { return RuntimePlatform.LinuxPlayer; } }
    public static bool isMobilePlatform { get; internal set; }
    public static void Quit() { Stub.World.Logs.Add("quit"); }
}

public sealed class QualitySettings : Object
{
    static ColorSpace s_ColorSpace = ColorSpace.Gamma;
    public static ColorSpace activeColorSpace { get { return s_ColorSpace; } internal set { s_ColorSpace = value; } }
}

public sealed class SystemInfo
{
    static bool s_Compute = true, s_Half = true, s_Readback = true, s_Reversed = true, s_Motion = true;
    static int s_MaxTexture = 16384;
    static Rendering.CopyTextureSupport s_Copies = (Rendering.CopyTextureSupport)31;
    static Rendering.GraphicsDeviceType s_Type = Rendering.GraphicsDeviceType.Vulkan;

    public static string graphicsDeviceName { get { return "GPU, \"fast\""; } }
    public static string processorType { get { return "CPU"; } }
    public static string operatingSystem { get { return "Linux"; } }
    public static int maxTextureSize { get { return s_MaxTexture; } internal set { s_MaxTexture = value; } }
    public static bool supportsComputeShaders { get { return s_Compute; } internal set { s_Compute = value; } }
    public static Rendering.GraphicsDeviceType graphicsDeviceType { get { return s_Type; } internal set { s_Type = value; } }

    public static bool supportsMotionVectors { get { return s_Motion; } internal set { s_Motion = value; } }
    public static bool usesReversedZBuffer { get { return s_Reversed; } internal set { s_Reversed = value; } }
    public static Rendering.CopyTextureSupport copyTextureSupport { get { return s_Copies; } internal set { s_Copies = value; } }
    public static bool supportsAsyncGPUReadback { get { return s_Readback; } internal set { s_Readback = value; } }

    public static bool SupportsRenderTextureFormat(RenderTextureFormat format)
    {
        return s_Half || format == RenderTextureFormat.ARGB32;
    }

    public static bool SupportsRandomWriteOnRenderTextureFormat(RenderTextureFormat format)
    {
        return s_Compute && SupportsRenderTextureFormat(format);
    }
}

#endregion

#region Inspector

public sealed class GUILayoutOption { internal GUILayoutOption() {} }

public sealed class ExitGUIException : Exception {}

public class GUIUtility
{
    public static void ExitGUI() { throw new ExitGUIException(); }
}

public sealed class GUIStyle {}

public sealed class GUISkin : ScriptableObject { public GUIStyle box { get; set; } }

public enum KeyCode { A = 97, G = 103, H = 104, I = 105, N = 110, P = 112, R = 114, T = 116, U = 117, UpArrow = 273, DownArrow = 274, RightArrow = 275, LeftArrow = 276 }

public class Input
{
    internal static readonly List<KeyCode> pressed = new List<KeyCode>();
    public static bool GetKeyDown(KeyCode key) { return pressed.Contains(key); }
    public static bool GetKey(KeyCode key) { return pressed.Contains(key); }
}

public class GUI
{
    public static GUISkin skin { get; set; }
    public static void Label(Rect position, string text) {}
}

public class GUILayout
{
    public static void BeginArea(Rect screenRect, GUIStyle style) {}
    public static void EndArea() {}
    public static void Label(string text, params GUILayoutOption[] options) { Stub.World.Logs.Add("label " + text); }
    internal static string pressed;

    public static bool Button(string text, params GUILayoutOption[] options)
    {
        Stub.World.Logs.Add("button " + text);
        var isPressed = text == pressed;
        if (isPressed) pressed = null;
        return isPressed;
    }
}

public class GUILayoutUtility
{
    public static Rect GetAspectRect(float aspect) { return new Rect(0, 0, aspect, 1); }
}

#endregion

}

namespace UnityEngine.SceneManagement
{

public struct Scene
{
    internal GameObject[] roots;
    public GameObject[] GetRootGameObjects() { return roots; }
}

}
