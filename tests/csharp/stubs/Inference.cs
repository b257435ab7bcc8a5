// Signatures of the part of com.unity.sentis 2.1.3 and com.unity.ai.inference 2.2.2 and 2.4.0 that the generated C# uses,
// written by hand from API facts, with just enough behaviour to run it. Layers are recorded in a command buffer and run
// when it is executed; a tensor is in one place, and what would read it back from the GPU throws; every network answers
// with its input inverted. STYLETRANSFER_SENTIS stands for 2.1.3, STUB_INFERENCE_2_4 for 2.4.0.

using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using Unity.Collections;
using UnityEngine;
using UnityEngine.Rendering;

#if STYLETRANSFER_SENTIS
namespace Unity.Sentis
#else
namespace Unity.InferenceEngine
#endif
{

public enum DeviceType { GPU = 1 << 8, CPU = 1 << 9 }

public enum BackendType { GPUCompute = 0 | DeviceType.GPU, GPUPixel = 1 | DeviceType.GPU, CPU = 0 | DeviceType.CPU }

public class ModelAsset : ScriptableObject {}

public class Layer { internal Layer() {} }

public struct DynamicTensorShape
{
    readonly int[] m_Dims;

    public DynamicTensorShape(int d0, int d1, int d2, int d3) { m_Dims = new[] { d0, d1, d2, d3 }; }
    public bool isRankDynamic { get { return m_Dims == null; } }
    public int rank { get { return m_Dims.Length; } }
    public int Get(int axis) { return m_Dims[axis]; }
    public void Set(int axis, int dimension) { m_Dims[axis] = dimension; }
}

public class Model
{
    public struct Input
    {
        public string name;
        public int index;
        public DynamicTensorShape shape;
    }

    public struct Output
    {
        public string name;
        public int index;
    }

    public List<Input> inputs = new List<Input>();
    public List<Output> outputs = new List<Output>();
    public List<Layer> layers = new List<Layer>();
    internal bool stubKeeps, stubPredicts;
}

public static class ModelLoader
{
    public static Model Load(ModelAsset modelAsset) { return (Model)Stub.Networks.ByAsset[modelAsset]; }

    public static Model Load(string path) { return Load(File.OpenRead(path)); }

    public static Model Load(Stream stream)
    {
        var bytes = new byte[stream.Length];
        stream.Read(bytes, 0, bytes.Length);
        return (Model)Stub.Networks.ByFile(bytes);
    }
}

public struct TensorShape
{
    readonly int m_N, m_C, m_H, m_W;

    public TensorShape(int d0, int d1, int d2, int d3) { m_N = d0; m_C = d1; m_H = d2; m_W = d3; }
    public int rank { get { return 4; } }
    public int length { get { return m_N * m_C * m_H * m_W; } }
    public int this[int axis] { get { return axis == 0 ? m_N : axis == 1 ? m_C : axis == 2 ? m_H : m_W; } }
}

public interface ITensorData : IDisposable {}

public abstract class Tensor : IDisposable
{
    internal enum Place { Nowhere, Memory, Buffer, Texture }

    internal Place place;
    internal float[] values;

    // The frame in which jobs that write it end.
    internal int readyAt;
    bool m_Disposed;

    internal Tensor(TensorShape shape)
    {
        this.shape = shape;
        values = new float[shape.length];
        Stub.Live.Add("Tensor");
    }

    public TensorShape shape { get; private set; }

    public bool IsReadbackRequestDone() { return Stub.World.Frame >= readyAt; }
    public void ReadbackRequest()
    {
        if (place != Place.Memory) readyAt = Stub.World.Frame + Stub.World.ReadbackFrames;
    }

    public void CompleteAllPendingOperations()
    {
        if (!IsReadbackRequestDone()) Stub.World.GpuWaits++;
        readyAt = 0;
    }

    public void Dispose()
    {
        if (m_Disposed) return;
        m_Disposed = true;
        Stub.Live.Remove("Tensor");
    }

    // Moves between CPU and GPU would wait for the GPU.
    internal void Pin(Place wanted)
    {
        if (m_Disposed) throw new ObjectDisposedException("Tensor");
        if (place == Place.Nowhere) place = wanted;
        if (place != wanted) throw new Exception("a tensor goes from " + place + " to " + wanted + ": a blocking read-back");
    }
}

public class Tensor<T> : Tensor where T : struct
{
    public Tensor(TensorShape shape, T[] srcData, int dataStartIndex = 0) : base(shape)
    {
        Pin(Place.Memory);
        Array.Copy(srcData, dataStartIndex, values, 0, values.Length);
    }

    public Tensor(TensorShape shape, NativeArray<T> srcData, int dataStartIndex = 0)
        : this(shape, srcData.Items, dataStartIndex) {}

    public Tensor(TensorShape shape, ITensorData data) : base(shape) {}

    public Tensor(TensorShape shape, bool clearOnInit = true) : base(shape) { Pin(Place.Memory); }

    public void Upload(NativeArray<T> srcData)
    {
        Pin(Place.Memory);
        Array.Copy(srcData.Items, values, values.Length);
    }

    // An array that a job reads after this has returned.
    public void Upload(T[] srcData) { throw new Exception("managed memory may move before the job has copied it"); }

    public T[] DownloadToArray()
    {
        if (!IsReadbackRequestDone()) throw new InvalidOperationException("the copy is on its way");
        return (T[])values.Clone();
    }

    public NativeArray<T>.ReadOnly AsReadOnlyNativeArray()
    {
        Pin(Place.Memory);
        if (!IsReadbackRequestDone()) throw new InvalidOperationException("jobs still write the tensor");
        return new NativeArray<T>((T[])(object)values).AsReadOnly();
    }
}

public struct TextureTransform
{
    bool m_Broadcast;
    internal bool broadcast { get { return m_Broadcast; } }

    public TextureTransform SetBroadcastChannels(bool broadcastChannels)
    {
        m_Broadcast = broadcastChannels;
        return this;
    }
}

public static class TextureConverter
{
#if STYLETRANSFER_SENTIS

    public static void ToTensor(Texture texture, Tensor<float> tensor, TextureTransform transform) { Read(texture, tensor); }

    public static void ToTensor(this CommandBuffer cb, Texture texture, Tensor<float> tensor, TextureTransform transform)
    {
        Record(cb, texture, tensor);
    }

#else

    public static void ToTensor(Texture texture, Tensor<float> tensor, TextureTransform transform = default(TextureTransform))
    {
        Read(texture, tensor);
    }

    public static void ToTensor
        (this CommandBuffer cb, Texture texture, Tensor<float> tensor, TextureTransform transform = default(TextureTransform))
    {
        Record(cb, texture, tensor);
    }

#endif

    public static void RenderToTexture
        (Tensor<float> tensor, RenderTexture renderTexture, TextureTransform transform = default(TextureTransform))
    {
        tensor.Pin(SystemInfo.supportsComputeShaders ? Tensor.Place.Buffer : Tensor.Place.Texture);
        Write(tensor, renderTexture, transform.broadcast);
    }

    public static void RenderToTexture
        (this CommandBuffer cb, Tensor<float> tensor, RenderTexture renderTexture,
         TextureTransform transform = default(TextureTransform))
    {
        tensor.Pin(Tensor.Place.Buffer);
        if (!renderTexture.enableRandomWrite) throw new Exception("the texture is made again in each frame");
        cb.StubAdd(() => Write(tensor, renderTexture, transform.broadcast));
    }

    // Where there are compute shaders they are used, whatever worker the tensor is for.
    static void Read(Texture texture, Tensor<float> tensor)
    {
        tensor.Pin(SystemInfo.supportsComputeShaders ? Tensor.Place.Buffer : Tensor.Place.Texture);
        Take(texture, tensor);
    }

    static void Record(CommandBuffer cb, Texture texture, Tensor<float> tensor)
    {
        tensor.Pin(Tensor.Place.Buffer);
        cb.StubAdd(() => Take(texture, tensor));
    }

    // Row 0 of a tensor is the top, row 0 of a texture the bottom. Channel by channel, the first ones of the texture.
    static void Take(Texture texture, Tensor tensor)
    {
        if (texture == null) throw new Exception("the texture is destroyed");
        int width = tensor.shape[3], height = tensor.shape[2];
        if (texture.width != width || texture.height != height) throw new Exception("sizes differ");
        for (var i = 0; i < tensor.values.Length; i++)
        {
            int column = i % width, row = i / width % height, channel = i / (width * height);
            var value = texture.texels[4 * ((height - 1 - row) * width + column) + channel];
        #if !STYLETRANSFER_SENTIS
            if (texture.sRGB) value = value <= 0.0031308f ? 12.92f * value : 1.055f * (float)Math.Pow(value, 1 / 2.4) - 0.055f;
        #endif
            tensor.values[i] = value;
        }
    }

    static void Write(Tensor tensor, RenderTexture target, bool broadcast)
    {
        int width = tensor.shape[3], height = tensor.shape[2], channels = tensor.shape[1];
        if (target.width != width || target.height != height) throw new Exception("sizes differ");
        if (!target.IsCreated()) throw new Exception("target is not created");
        var clamps = target.format == RenderTextureFormat.ARGB64 || target.format == RenderTextureFormat.ARGB32;
        for (var i = 0; i < width * height; i++)
        {
            var to = 4 * ((height - 1 - i / width) * width + i % width);
            for (var c = 0; c < 4; c++)
            {
                var value = c < channels ? tensor.values[c * width * height + i]
                    : broadcast ? tensor.values[i] : c == 3 ? 1 : 0;
                target.texels[to + c] = clamps ? Mathf.Clamp01(value) : value;
            }
        }
    }
}

public class Worker : IDisposable
{
    readonly Model m_Model;
    readonly BackendType m_Backend;
    CommandBuffer m_Commands;
    Tensor<float> m_Output;
    bool m_Disposed;

    public Worker(Model model, BackendType backendType)
    {
        if (Stub.Networks.Impossible) throw new InvalidOperationException("no such layer");
        m_Model = model;
        m_Backend = backendType;
        Stub.Live.Add("Worker");
    }

    public BackendType backendType { get { return m_Backend; } }

    internal void SetCommandBuffer(CommandBuffer cb)
    {
        if (m_Backend != BackendType.GPUCompute) throw new Exception("Cannot set command buffer on this backend");
        m_Commands = cb;
    }

    bool m_HasStyle;

    public void SetInput(int index, Tensor input)
    {
        if (index != 1 || index >= m_Model.inputs.Count) throw new ArgumentOutOfRangeException("index");
        m_HasStyle = true;
        Stub.Networks.Styles = (float[])input.values.Clone();
    }

    public void Schedule(Tensor input)
    {
        var layers = ScheduleIterable(input);
        while (layers.MoveNext()) {}
    }

    public void Schedule(params Tensor[] inputs) { Schedule(inputs[0]); }

    public IEnumerator ScheduleIterable(Tensor input)
    {
        if (m_Disposed) throw new ObjectDisposedException("Worker");
        if (Stub.Networks.BurstBroken && m_Backend == BackendType.CPU) throw new Exception("no Burst here");
        if (m_Model.inputs.Count > 1 && !m_HasStyle) throw new Exception("the second input is not set");
        input.Pin(m_Backend == BackendType.CPU ? Tensor.Place.Memory
            : m_Backend == BackendType.GPUPixel ? Tensor.Place.Texture : Tensor.Place.Buffer);
        Stub.Networks.BeginRun();
        return Run(input);
    }

    public IEnumerator ScheduleIterable(params Tensor[] inputs) { return ScheduleIterable(inputs[0]); }

    // The output of the last run is gone when another one begins.
    IEnumerator Run(Tensor input)
    {
        if (m_Output != null) m_Output.Dispose();
        m_Output = null;
        foreach (var layer in m_Model.layers)
        {
            Do(Stub.Networks.RunLayer);
            yield return null;
        }

        var shape = m_Model.stubPredicts ? new TensorShape(1, input.shape[1], 1, 1) : input.shape;
        var output = m_Output = new Tensor<float>(shape, data: null);
        output.place = input.place;
        if (m_Backend == BackendType.CPU) output.readyAt = Stub.World.Frame + Stub.World.ReadbackFrames;
        Do(() => Answer(input, output));
    }

    void Do(Action action)
    {
        if (m_Commands != null) m_Commands.StubAdd(action);
        else action();
    }

    void Answer(Tensor input, Tensor output)
    {
        int channels = input.shape[1], pixels = input.values.Length / channels;
        Stub.Networks.LastInput = new float[input.values.Length];
        for (var i = 0; i < input.values.Length; i++)
            Stub.Networks.LastInput[i % pixels * channels + i / pixels] = input.values[i];
        if (m_Model.stubPredicts)
        {
            Array.Copy(Stub.Networks.Predict(Stub.Networks.LastInput, channels), output.values, channels);
            return;
        }
        Array.Copy(input.values, output.values, input.values.Length);
        Stub.Networks.Answer(output.values, m_Model.stubKeeps);
    }

    public Tensor PeekOutput() { return m_Output; }

    public Tensor PeekOutput(int index)
    {
        if (index >= m_Model.outputs.Count) throw new ArgumentOutOfRangeException("index");
        return m_Output;
    }

    public Tensor PeekOutput(string name) { throw new KeyNotFoundException(name); }

    public void Dispose()
    {
        if (m_Disposed) return;
        m_Disposed = true;
        if (m_Output != null) m_Output.Dispose();
        Stub.Live.Remove("Worker");
    }
}

public static class CommandBufferWorkerExtensions
{
    public static void ScheduleWorker(this CommandBuffer cb, Worker worker, Tensor input)
    {
        worker.SetCommandBuffer(cb);
        worker.Schedule(input);
    }

    public static void ScheduleWorker(this CommandBuffer cb, Worker worker, params Tensor[] inputs)
    {
        ScheduleWorker(cb, worker, inputs[0]);
    }

    public static IEnumerator ScheduleWorkerIterable(this CommandBuffer cb, Worker worker, Tensor input)
    {
        worker.SetCommandBuffer(cb);
        return worker.ScheduleIterable(input);
    }

    public static IEnumerator ScheduleWorkerIterable(this CommandBuffer cb, Worker worker, params Tensor[] inputs)
    {
        return ScheduleWorkerIterable(cb, worker, inputs[0]);
    }
}

}
