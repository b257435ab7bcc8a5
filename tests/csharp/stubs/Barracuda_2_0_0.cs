// What Barracuda 2.0.0 has differently.

using System;
using UnityEngine;

namespace Unity.Barracuda
{

public struct TensorShape
{
    public readonly int sequenceLength, numberOfDirections, batch, extraDimension, depth, height, width, channels;

    public TensorShape(int n, int h, int w, int c)
    {
        sequenceLength = numberOfDirections = extraDimension = depth = 1;
        batch = n;
        height = h;
        width = w;
        channels = c;
    }

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
        Auto = 32768, ComputePrecompiled = 256, Compute = 257, ComputeRef = 258,
        CSharpBurst = 512, CSharp = 513, CSharpRef = 514
    }
}

public partial interface ITensorData
{
    float[] SharedAccess(out int offset);
}

public partial class Tensor
{
    public TensorShape shape;

    void SetShape(TensorShape value) { shape = value; }

    static StubData StubStorage(float[] values) { return new UnsafeArrayTensorData(values); }

    bool StubCanDraw()
    {
        if (!SystemInfo.supportsComputeShaders)
            throw new ArgumentException("Kernel TensorToTextureNoLUT is missing");
        return true;
    }
}

public partial class StubData
{
    public float[] SharedAccess(out int offset)
    {
        offset = slot;
        return values;
    }
}

public partial class TextureAsTensorData
{
    public float[] SharedAccess(out int offset) { throw new NotSupportedException(); }
}

public partial class UnsafeArrayCPUOps
{
    public static UnsafeArrayTensorData Pin(Tensor X) { return StubPin(X); }
}

}
