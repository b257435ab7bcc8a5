// What Barracuda 3.0.0 has differently.

using System;
using System.Collections.Generic;
using UnityEngine;

namespace Unity.Barracuda
{

public struct TensorShape
{
    readonly int m_Batch, m_Height, m_Width, m_Channels;

    public TensorShape(int n, int h, int w, int c) { m_Batch = n; m_Height = h; m_Width = w; m_Channels = c; }
    public int batch { get { return m_Batch; } }
    public int height { get { return m_Height; } }
    public int width { get { return m_Width; } }
    public int channels { get { return m_Channels; } }
    public int length { get { return batch * height * width * channels; } }
}

public partial class Model
{
    // Shapes have 8 dimensions that end in D,H,W,C.
    public struct Input
    {
        public string name;
        public int[] shape;
        public int rank;
    }

    Dictionary<string, string> m_Metadata = new Dictionary<string, string>();
    public Dictionary<string, string> Metadata { get { return m_Metadata; } private set { m_Metadata = value; } }
}

public class ComputeInfo
{
    public enum ChannelsOrder { NHWC, NCHW }
    public static ChannelsOrder channelsOrder = ChannelsOrder.NHWC;
}

public partial class WorkerFactory
{
    public enum Type
    {
        Auto = 32768, ComputePrecompiled = 256, Compute = 257, ComputeRef = 258, PixelShader = 259,
        CSharpBurst = 512, CSharp = 513, CSharpRef = 514
    }
}

public class BarracudaArray : IDisposable
{
    internal readonly float[] items;

    internal BarracudaArray(float[] items) { this.items = items; }
    public int Length { get { return items.Length; } }
    public float this[int index] { get { return items[index]; } set { items[index] = value; } }
    public void Dispose() {}
}

public partial interface ITensorData
{
    BarracudaArray SharedAccess(out int offset);
}

public partial class Tensor
{
    public TensorShape shape { get; private set; }
    public string name { get; set; }

    void SetShape(TensorShape value) { shape = value; }

    static StubData StubStorage(float[] values) { return new UnsafeArrayTensorData(values); }

    // Silently nothing for everything but compute tensors where compute shaders exist.
    bool StubCanDraw() { return !SystemInfo.supportsComputeShaders || tensorOnDevice is ComputeTensorData; }
}

public partial class StubData
{
    BarracudaArray m_Array;

    public BarracudaArray SharedAccess(out int offset)
    {
        offset = slot;
        return m_Array ?? (m_Array = new BarracudaArray(values));
    }
}

public partial class TextureAsTensorData
{
    public BarracudaArray SharedAccess(out int offset) { throw new NotSupportedException(); }
}

public partial class UnsafeArrayCPUOps
{
    public static UnsafeArrayTensorData Pin(Tensor X, bool uploadCache = true) { return StubPin(X); }
}

// Storage of the PixelShader worker.
public class TextureTensorData : StubData
{
    public static int MaxTextureSize = 16384;
    internal TextureTensorData(float[] values) : base(values) {}
}

public class PixelShaderOps : ReferenceCPUOps
{
    public PixelShaderOps(ITensorAllocator allocator = null) {}

    public void TensorToRenderTexture
        (Tensor X, RenderTexture target, int batch, int fromChannel, Vector4 scale, Vector4 bias, Texture3D lut,
         bool flipY = true)
    {
        if (!(X.tensorOnDevice is TextureTensorData)) throw new Exception("not a tensor of the PixelShader worker");
        X.StubDraw(target);
    }
}

}
