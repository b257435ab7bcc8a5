// Compute shaders. Commands are kept with the values of then, as Unity keeps them; a dispatch hands what is bound to
// whoever plays the kernels. Part of the stub of UnityEngine.

using System;
using System.Collections.Generic;
using UnityEngine;
using UnityEngine.Rendering;

namespace Stub
{

public static class Kernels
{
    // Plays a dispatch: shader, kernel, what is bound by name, thread groups.
    public static Action<ComputeShader, string, Dictionary<string, object>, int[]> Run;
}

}

namespace UnityEngine
{

public sealed class ComputeBuffer : IDisposable
{
    bool m_Released;

    public ComputeBuffer(int count, int stride)
    {
        if (count <= 0 || stride <= 0 || stride % 4 != 0) throw new ArgumentException("count or stride");
        this.count = count;
        this.stride = stride;
        Stub.Live.Add("ComputeBuffer");
    }

    public int count { get; private set; }
    public int stride { get; private set; }
    internal Array data;

    public void GetData(Array data, int managedStart, int computeStart, int count)
    {
        if (this.data != null) Array.Copy(this.data, computeStart, data, managedStart, count);
    }

    public void SetData(Array data)
    {
        if (data.Length * 4 != count * stride) throw new ArgumentException("the buffer has another size");
        // A network uploads its weights, and nothing else: whoever holds them counts as its worker.
        if (this.data == null) Stub.Live.Add("Worker");
        this.data = (Array)data.Clone();
    }

    // Indices and count are of the array's own elements.
    public void SetData(Array data, int managedBufferStartIndex, int computeBufferStartIndex, int count)
    {
        if (this.data == null) throw new Exception("nothing was uploaded before");
        Array.Copy(data, managedBufferStartIndex, this.data, computeBufferStartIndex, count);
    }

    public void Release()
    {
        if (m_Released) throw new Exception("released twice");
        m_Released = true;
        Stub.Live.Remove("ComputeBuffer");
        if (data != null) Stub.Live.Remove("Worker");
    }

    public void Dispose() { Release(); }
    internal bool IsReleased { get { return m_Released; } }
}

public sealed class ComputeShader : Object
{
    internal List<string> kernels = new List<string>();
    internal Dictionary<string, object> constants = new Dictionary<string, object>();
    internal Dictionary<int, Dictionary<string, object>> bound = new Dictionary<int, Dictionary<string, object>>();

    public bool HasKernel(string name)
    {
        if (Stub.Networks.Impossible) throw new InvalidOperationException("no such layer");
        return kernels.Contains(name);
    }

    public int FindKernel(string name)
    {
        if (!HasKernel(name)) throw new ArgumentException("Kernel '" + name + "' not found.");
        return kernels.IndexOf(name);
    }

    internal Dictionary<string, object> Bound(int kernel)
    {
        Dictionary<string, object> held;
        if (!bound.TryGetValue(kernel, out held)) bound[kernel] = held = new Dictionary<string, object>();
        return held;
    }
}

}

namespace UnityEngine.Rendering
{

public partial class CommandBuffer
{
    public void SetComputeIntParams(ComputeShader computeShader, int nameID, params int[] values)
    {
        var copy = (int[])values.Clone();
        StubAdd(() => computeShader.constants[Shader.StubName(nameID)] = copy);
    }

    public void SetComputeFloatParams(ComputeShader computeShader, int nameID, params float[] values)
    {
        var copy = (float[])values.Clone();
        StubAdd(() => computeShader.constants[Shader.StubName(nameID)] = copy);
    }

    public void SetComputeBufferParam(ComputeShader computeShader, int kernelIndex, int nameID, ComputeBuffer buffer)
    {
        StubAdd(() => computeShader.Bound(kernelIndex)[Shader.StubName(nameID)] = buffer);
    }

    public void SetComputeTextureParam(ComputeShader computeShader, int kernelIndex, int nameID, RenderTargetIdentifier rt)
    {
        StubAdd(() => computeShader.Bound(kernelIndex)[Shader.StubName(nameID)] = rt.texture);
    }

    public void DispatchCompute
        (ComputeShader computeShader, int kernelIndex, int threadGroupsX, int threadGroupsY, int threadGroupsZ)
    {
        StubAdd(() =>
        {
            var bound = new Dictionary<string, object>(computeShader.Bound(kernelIndex));
            foreach (var held in computeShader.constants) bound[held.Key] = held.Value;
            foreach (var held in bound.Values)
            {
                var buffer = held as ComputeBuffer;
                if (buffer != null && buffer.IsReleased) throw new Exception("a released buffer is bound");
            }
            var groups = new[] { threadGroupsX, threadGroupsY, threadGroupsZ };
            foreach (var count in groups)
                if (count < 1 || count > 65535) throw new Exception("thread groups: " + count);
            Stub.Kernels.Run(computeShader, computeShader.kernels[kernelIndex], bound, groups);
        });
    }
}

}

namespace UnityEngine.Rendering
{

public static partial class AsyncGPUReadback
{
    public static AsyncGPUReadbackRequest Request
        (ComputeBuffer src, Action<AsyncGPUReadbackRequest> callback = null)
    {
        if (!SystemInfo.supportsAsyncGPUReadback) throw new NotSupportedException();
        return new AsyncGPUReadbackRequest { data = src.data };
    }
}

}
