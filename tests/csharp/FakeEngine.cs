// An engine that no package knows: what is in StyleTransfer.Runtime works with whatever implements its seam. It uses
// the public part of the runtime only, in an assembly of its own, as an engine must.

using System;
using StyleTransfer;
using UnityEngine;
using UnityEngine.Rendering;

public sealed class FakeAsset : ScriptableObject
{
    public int Channels, Layers, Styles;
    public bool Keeps, Predicts;
}

public sealed class FakeEngine : StyleTransferEngine
{
    public static FakeAsset Files;
    public static Action<byte[]> Seen;

    public override string Name => "Fake";
    public override string Target => "fake-7";
    public override string Version => "7";
    public override bool IsPackage => false;
    public override StyleTransferWorker[] ProofWorkers => new[] { StyleTransferWorker.CSharpBurst };

    public override StyleTransferWorker Choose(StyleTransferWorker requested, out string note)
    {
        note = SystemInfo.supportsComputeShaders ? null : "Compute shaders cannot be used here; the CPU runs.";
        if (note != null || requested == StyleTransferWorker.CSharpBurst) return StyleTransferWorker.CSharpBurst;
        if (requested != StyleTransferWorker.Auto && requested != StyleTransferWorker.Compute) note = "Compute runs instead.";
        return StyleTransferWorker.Compute;
    }

    public override bool CanLoad(UnityEngine.Object imported) => imported is FakeAsset;

    public override bool CanLoadFile(string target) => target == Target;

    public override StyleTransferNetwork Load(StyleTransferModel model, StyleTransferWorker worker)
      => new FakeNetwork((FakeAsset)model.Model, worker);

    public override StyleTransferNetwork LoadFile(StyleTransferModel model, byte[] file, StyleTransferWorker worker)
    {
        Seen(file);
        return new FakeNetwork(Files, worker);
    }
}

sealed class FakeNetwork : StyleTransferNetwork
{
    readonly FakeAsset m_Asset;
    readonly StyleTransferWorker m_Worker;
    bool m_Disposed;
    int m_Layer;
    float[] m_Values;
    RenderTexture m_Input, m_Output;

    public FakeNetwork(FakeAsset asset, StyleTransferWorker worker)
    {
        if (Stub.Networks.Impossible) throw new InvalidOperationException("no such layer");
        m_Asset = asset;
        m_Worker = worker;
        Stub.Live.Add("Worker");
    }

    public override NetworkDescription Describe()
    {
        var told = new NetworkDescription { Channels = m_Asset.Channels };
        told.Inputs.Add("input");
        if (m_Asset.Styles > 1) told.Inputs.Add("style_weights");
        told.Outputs.Add("output");
        return told;
    }

    public override int LayerCount => m_Asset.Layers;
    public override bool ComputesOnCpu => m_Worker == StyleTransferWorker.CSharpBurst;
    public override RenderTexture Input => m_Input;
    public override float Progress => (float)m_Layer / m_Asset.Layers;

    public override void AllocateBuffers(WorkingSize size)
    {
        ReleaseBuffers();
        m_Input = Make(size);
        m_Output = Make(size);
    }

    public override void SetStyle(float[] weights) => Stub.Networks.Styles = (float[])weights.Clone();

    static RenderTexture Make(WorkingSize size)
    {
        var made = new RenderTexture(size.Width, size.Height, 0, RenderTextureFormat.ARGBHalf, RenderTextureReadWrite.Linear);
        made.Create();
        return made;
    }

    public override void ReleaseBuffers()
    {
        Free(m_Output);
        Free(m_Input);
        m_Output = m_Input = null;
        m_Values = null;
    }

    static void Free(RenderTexture texture)
    {
        if (texture == null) return;
        texture.Release();
        UnityEngine.Object.DestroyImmediate(texture);
    }

    public override void Begin()
    {
        Stub.Networks.BeginRun();
        m_Layer = 0;
        m_Values = Read();
        Stub.Networks.LastInput = (float[])m_Values.Clone();
    }

    // Row 0 of a texture is the bottom.
    float[] Read()
    {
        int width = m_Input.width, height = m_Input.height, channels = m_Asset.Channels;
        var values = new float[width * height * channels];
        for (var y = 0; y < height; y++)
            for (var x = 0; x < width; x++)
            {
                int from = 4 * ((height - 1 - y) * width + x), to = (y * width + x) * channels;
                var t = m_Input.texels;
                if (channels == 1) values[to] = (t[from] + t[from + 1] + t[from + 2]) / 3;
                else Array.Copy(t, from, values, to, 3);
            }
        return values;
    }

    public override bool RunLayer()
    {
        if (m_Layer == m_Asset.Layers) return false;
        m_Layer++;
        Stub.Networks.RunLayer();
        return true;
    }

    public override bool FinishNumbers(float[] numbers, bool waits)
    {
        Array.Copy(Stub.Networks.Predict(m_Values, m_Asset.Channels), numbers, numbers.Length);
        return true;
    }

    public override Texture Finish()
    {
        Stub.Networks.Answer(m_Values, m_Asset.Keeps);
        int width = m_Input.width, height = m_Input.height, channels = m_Asset.Channels;
        for (var i = 0; i < width * height; i++)
        {
            var to = 4 * ((height - 1 - i / width) * width + i % width);
            for (var c = 0; c < 3; c++) m_Output.texels[to + c] = m_Values[i * channels + (channels == 1 ? 0 : c)];
            m_Output.texels[to + 3] = 1;
        }
        return m_Output;
    }

    public override float[] Compute(float[] values, WorkingSize size, out WorkingSize result, out int channels)
    {
        Stub.Networks.BeginRun();
        result = size;
        channels = m_Asset.Channels;
        if (m_Asset.Predicts)
        {
            result = new WorkingSize(1, 1);
            return Stub.Networks.Predict(values, channels);
        }
        var answer = (float[])values.Clone();
        Stub.Networks.Answer(answer, m_Asset.Keeps);
        return answer;
    }

    public override void Dispose()
    {
        if (m_Disposed) return;
        m_Disposed = true;
        ReleaseBuffers();
        Stub.Live.Remove("Worker");
    }
}
