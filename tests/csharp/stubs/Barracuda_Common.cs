// Signatures of the part of Barracuda that the generated C# uses and that is the same in 1.0.4, 2.0.0 and 3.0.0,
// written by hand from API facts, with just enough behaviour to run it: a tensor made from a texture gives up
// the texture at the first Execute, as the real ones do, and every network answers with its input inverted.

using System;
using System.Collections;
using System.Collections.Generic;
using UnityEngine;

namespace Unity.Barracuda
{

public class NNModel : ScriptableObject {}

public class Layer { internal Layer() {} }

public partial class Model
{
    public List<Layer> layers = new List<Layer>();

    // Answers with its input as it is, instead of inverted.
    internal bool stubKeeps, stubPredicts;
    public List<Input> inputs = new List<Input>();
    public List<string> outputs = new List<string>();
}

public static class ModelLoader
{
    public static Model Load(NNModel model, bool verbose = false, bool skipWeights = false)
    {
        return (Model)Stub.Networks.ByAsset[model];
    }
}

public interface IWorker : IDisposable
{
    IWorker Execute(Tensor input);
    void SetInput(string name, Tensor x);
    IEnumerator StartManualSchedule(Tensor input);
    float scheduleProgress { get; }
    Tensor PeekOutput();
    Tensor PeekOutput(string name);
}

public partial class WorkerFactory
{
    public enum Device { GPU = 256, CPU = 512, Auto = 32768 }

    public static bool IsType(Type type, Device device) { return ((int)type & (int)device) == (int)device; }

    public static IWorker CreateWorker(Type type, Model model, bool verbose) { return new StubWorker(type, model); }

    public static IWorker CreateWorker
        (Type type, Model model, string[] additionalOutputs = null, string[] trimOutputs = null, bool verbose = false)
    {
        return new StubWorker(type, model);
    }
}

public partial interface ITensorData : IDisposable
{
    void Upload(float[] data, TensorShape shape, int managedBufferStartIndex = 0);
}

public partial class Tensor : IDisposable
{
    ITensorData m_OnDevice;
    bool m_Disposed;

    public Tensor(Texture srcTexture, int channels = -1, string name = "")
        : this(new TensorShape(1, srcTexture.height, srcTexture.width, channels),
               new TextureAsTensorData(srcTexture, channels)) {}

    public Tensor(int n, int h, int w, int c, float[] srcData, string name = "")
        : this(new TensorShape(n, h, w, c), StubStorage((float[])srcData.Clone())) {}

    internal Tensor(TensorShape shape, ITensorData data)
    {
        SetShape(shape);
        m_OnDevice = data;
        Stub.Live.Add("Tensor");
    }

    public int height { get { return shape.height; } }
    public int width { get { return shape.width; } }
    public int channels { get { return shape.channels; } }
    public int length { get { return shape.length; } }
    public ITensorData tensorOnDevice { get { return m_OnDevice; } }

    public void AttachToDevice(ITensorData source)
    {
        if (m_OnDevice == source) return;
        if (m_OnDevice != null) m_OnDevice.Dispose();
        m_OnDevice = source;
    }

    // The frame in which a copy that was asked for has come from the GPU.
    internal int readyAt;

    public bool PrepareCacheForAccess(bool blocking = true)
    {
        if (Stub.World.Frame >= readyAt) return true;
        if (blocking) Stub.World.GpuWaits++;
        return blocking;
    }

    public float[] ToReadOnlyArray()
    {
        // Longer than the tensor, as pooled memory is.
        var values = new float[length + 5];
        Array.Copy(StubValues(), values, length);
        return values;
    }

    public void ToRenderTexture
        (RenderTexture target, int batch = 0, int fromChannel = 0, float scale = 1, float bias = 0, Texture3D lut = null)
    {
        if (StubCanDraw()) StubDraw(target);
    }

    public void Dispose()
    {
        if (m_Disposed) return;
        m_Disposed = true;
        Stub.Live.Remove("Tensor");
        if (m_OnDevice != null) m_OnDevice.Dispose();
        m_OnDevice = null;
    }

    // Values in the order N,H,W,C; row 0 is the top.
    internal float[] StubValues()
    {
        if (m_Disposed) throw new ObjectDisposedException("Tensor");
        return ((StubData)m_OnDevice).values;
    }

    internal void StubDraw(RenderTexture target)
    {
        if (target.width != width || target.height != height) throw new Exception("sizes differ");
        if (!target.IsCreated()) throw new Exception("target is not created");
        var values = StubValues();
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var from = (y * width + x) * channels;
                var to = ((height - 1 - y) * width + x) * 4;
                for (var c = 0; c < 3; c++) target.texels[to + c] = values[from + (channels == 1 ? 0 : c)];
                target.texels[to + 3] = 1;
            }
        }
    }
}

// Storage that holds values; every object must be disposed by its tensor.
public abstract partial class StubData : ITensorData
{
    internal float[] values;
    internal int slot;
    bool m_Disposed;

    internal StubData(float[] values)
    {
        this.values = values;
        Stub.Live.Add("tensor storage");
    }

    public virtual void Upload(float[] data, TensorShape shape, int managedBufferStartIndex = 0)
    {
        Array.Copy(data, managedBufferStartIndex, values, slot, shape.length);
    }

    public void Dispose()
    {
        if (m_Disposed) return;
        m_Disposed = true;
        Stub.Live.Remove("tensor storage");
    }
}

public class ComputeTensorData : StubData { internal ComputeTensorData(float[] values) : base(values) {} }

public partial class UnsafeArrayTensorData : StubData { internal UnsafeArrayTensorData(float[] values) : base(values) {} }

public partial class TextureAsTensorData : ITensorData
{
    internal readonly Texture texture;
    internal readonly int channels;

    public enum Flip { None, Y }
    public enum InterpretDepthAs { Batch, Channels }
    public enum InterpretColorAs { AverageMultipleChannels }

    public TextureAsTensorData
        (Texture texture, int interpretPixelAsChannels = -1, Flip flip = Flip.Y,
         InterpretDepthAs depthAs = InterpretDepthAs.Batch,
         InterpretColorAs colorAs = InterpretColorAs.AverageMultipleChannels)
    {
        this.texture = texture;
        channels = interpretPixelAsChannels;
    }

    public void Upload(float[] data, TensorShape shape, int managedBufferStartIndex = 0)
    {
        throw new InvalidOperationException("TextureAsTensorData is readonly");
    }

    public void Dispose() {}

    internal float[] Read()
    {
        if (texture == null) throw new Exception("the texture is destroyed");
        int w = texture.width, h = texture.height;
        var values = new float[w * h * channels];
        for (var y = 0; y < h; y++)
        {
            for (var x = 0; x < w; x++)
            {
                var from = ((h - 1 - y) * w + x) * 4;
                var to = (y * w + x) * channels;
                if (channels == 1)
                    values[to] = (texture.texels[from] + texture.texels[from + 1] + texture.texels[from + 2]) / 3;
                else
                    for (var c = 0; c < channels; c++) values[to + c] = texture.texels[from + c];
            }
        }
        return values;
    }
}

public interface ITensorAllocator {}

public partial class ReferenceCPUOps
{
    public ReferenceCPUOps(ITensorAllocator allocator = null) {}
}

public partial class UnsafeArrayCPUOps : ReferenceCPUOps
{
    public UnsafeArrayCPUOps(ITensorAllocator allocator = null) : base(allocator) {}

    static UnsafeArrayTensorData StubPin(Tensor X)
    {
        var pinned = X.tensorOnDevice as UnsafeArrayTensorData;
        if (pinned != null) return pinned;
        pinned = new UnsafeArrayTensorData(X.StubValues());
        X.AttachToDevice(pinned);
        return pinned;
    }
}

class StubWorker : IWorker
{
    const int Layers = 10;

    readonly WorkerFactory.Type m_Type;
    readonly Model m_Model;
    Tensor m_Output;
    bool m_Disposed;
    float m_Progress;

    public StubWorker(WorkerFactory.Type type, Model model)
    {
        if (Stub.Networks.Impossible) throw new InvalidOperationException("no such layer");
        m_Type = type;
        m_Model = model;
        Stub.Live.Add("Worker");
    }

    public IWorker Execute(Tensor input)
    {
        var schedule = StartManualSchedule(input);
        while (schedule.MoveNext()) {}
        return this;
    }

    Tensor m_Style;

    public void SetInput(string name, Tensor x)
    {
        if (name != m_Model.inputs[1].name) throw new KeyNotFoundException(name);
        m_Style = x;
        Stub.Networks.Styles = (float[])x.StubValues().Clone();
    }

    // The input is converted at once, the layers one by one.
    public IEnumerator StartManualSchedule(Tensor input)
    {
        if (m_Disposed) throw new ObjectDisposedException("Worker");
        if (Stub.Networks.BurstBroken && m_Type == WorkerFactory.Type.CSharpBurst) throw new Exception("no Burst here");
        if (m_Model.inputs.Count > 1 && m_Style == null) throw new Exception("the second input is not set");
        Stub.Networks.BeginRun();

        var view = input.tensorOnDevice as TextureAsTensorData;
        if (WorkerFactory.IsType(m_Type, WorkerFactory.Device.CPU))
        {
            // The real ones need a compute shader to read a texture.
            if (view != null) throw new Exception("a CPU worker was given a texture");
        }
        else
        {
            if (view != null) input.AttachToDevice(StubGpuData(view.Read()));
        }
        Stub.Networks.LastInput = (float[])input.StubValues().Clone();
        return Run((float[])Stub.Networks.LastInput.Clone(), input.shape);
    }

    IEnumerator Run(float[] values, TensorShape shape)
    {
        for (var layer = 1; layer <= Layers; layer++)
        {
            m_Progress = layer / (float)Layers;
            Stub.Networks.RunLayer();
            yield return null;
        }

        if (m_Model.stubPredicts)
        {
            values = Stub.Networks.Predict(values, shape.channels);
            shape = new TensorShape(1, 1, 1, shape.channels);
        }
        else
        {
            Stub.Networks.Answer(values, m_Model.stubKeeps);
        }
        if (m_Output != null) m_Output.Dispose();
        var cpu = WorkerFactory.IsType(m_Type, WorkerFactory.Device.CPU);
        m_Output = new Tensor(shape, cpu ? new UnsafeArrayTensorData(values) : StubGpuData(values));
        m_Output.readyAt = cpu ? 0 : Stub.World.Frame + Stub.World.ReadbackFrames;
    }

    StubData StubGpuData(float[] values)
    {
        return m_Type.ToString() == "PixelShader" ? PixelData(values) : new ComputeTensorData(values);
    }

    static StubData PixelData(float[] values)
    {
        var type = typeof(StubWorker).Assembly.GetType("Unity.Barracuda.TextureTensorData");
        const System.Reflection.BindingFlags flags =
            System.Reflection.BindingFlags.Instance | System.Reflection.BindingFlags.NonPublic;
        return (StubData)Activator.CreateInstance(type, flags, null, new object[] { values }, null);
    }

    public float scheduleProgress { get { return m_Progress; } }

    public Tensor PeekOutput() { return m_Output; }

    public Tensor PeekOutput(string name)
    {
        if (!m_Model.outputs.Contains(name)) throw new KeyNotFoundException(name);
        return m_Output;
    }

    public void Dispose()
    {
        if (m_Disposed) throw new Exception("worker disposed twice");
        m_Disposed = true;
        if (m_Output != null) m_Output.Dispose();
        Stub.Live.Remove("Worker");
    }
}

}
