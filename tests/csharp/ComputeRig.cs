// What the cases need to know of an engine, for compiled networks; and the cases of compiled networks only.

using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using StyleTransfer;
using StyleTransfer.Compute;
using UnityEngine;
using UnityEngine.Rendering;

static class EngineRig
{
    public const string Target = "compute";
    public const StyleTransferWorker BestWorker = StyleTransferWorker.Compute;
    public static readonly bool RunsInsideFrames = true;
    public const StyleTransferWorker ProofWorker = StyleTransferWorker.Compute;

    public static readonly StyleTransferWorker[] Workers = { StyleTransferWorker.Compute };

    static readonly HashSet<UnityEngine.Object> s_Keeping = new HashSet<UnityEngine.Object>();

    // As Unity does before the first scene.
    public static void Register()
    {
        Stub.Kernels.Run = Play;
        Stub.Reflect.Start(typeof(ComputeEngine));
    }

    public static UnityEngine.Object Import(int channels, int layers)
    {
        var kernels = new ComputeShader();
        kernels.kernels.AddRange(new[] { "First", "Between", "Last", "Alone", "Guides" });
        var imported = ScriptableObject.CreateInstance<CompiledNetwork>();
        Stub.Reflect.Set(imported, "kernels", kernels);
        Stub.Reflect.Set(imported, "plan", new TextAsset(Plan(channels, layers)));
        return imported;
    }

    public static void SetLayers(StyleTransferModel style, int layers)
      => Stub.Reflect.Set(style.Model, "plan", new TextAsset(Plan(style.InputChannels, layers)));

    public static ComputeShader KernelsOf(StyleTransferModel style) => ((CompiledNetwork)style.Model).Kernels;

    public static void LetItKeepItsInput(StyleTransferModel style) => s_Keeping.Add(KernelsOf(style));

    public static void ImportFiles(UnityEngine.Object network, Action<byte[]> seen) {}

    public static void PrintWorkers() {}

    // Kernels are stand-ins here, without weights; tests/targets/compute mixes those of real plans.
    public static readonly bool StubsHaveStyles = false;

    public static void LetItPredict(StyleTransferModel predictor) {}

    public static void GiveStyles(StyleTransferModel style, int count) {}

    // A plan of so many pointwise kernels on two buffers, in the format of pipeline/targets/compute/file.py.
    // Between the first and the others come those that copy guides into buffers of their own, of so many channels.
    public static byte[] Plan(int channels, int layers, params int[] guides)
    {
        var version = guides.Length > 0 ? ComputePlan.GuideVersion : ComputePlan.FormatVersion;
        int slots = layers > 1 ? Math.Min(2, layers - 1) : 0, first = guides.Length, values = layers + 1 + 2 * first;
        var bytes = new MemoryStream();
        var to = new BinaryWriter(bytes);
        to.Write(Encoding.ASCII.GetBytes("STCP"));
        Write(to, version, 0, 16, 16, channels, channels, first + layers, 0, slots + first);
        Write(to, "input");
        Write(to, "output");
        Write(to, 0);
        Write(to, values);
        for (var i = 0; i < values; i++)
        {
            var layer = i - first;
            var slot = layer <= 0 || layer == layers ? -1 : layer > layers ? slots + layer - layers - 1 : layer % 2 == 1 ? 0 : 1;
            var guide = layer > layers ? layer - layers : i > first ? 0 : i;
            Write(to, guide > 0 ? guides[guide - 1] : channels, Math.Max(0, i - 1), 1, 0, 1, 1, 0, 1, i, 0, slot, 1);
        }
        var names = new[] { "First", "Between", "Last", "Alone", "Guides" };
        Write(to, names.Length);
        foreach (var name in names)
        {
            Write(to, name);
            Write(to, "Pointwise");
            Write(to, 2);
            Write(to, "THREADS_X");
            Write(to, 8);
            Write(to, "THREADS_Y");
            Write(to, 8);
        }
        Write(to, layers + first);
        for (var i = 0; i < layers + first; i++)
        {
            Write(to, "layer");
            var layer = i - first;
            if (layer < 0)
            {
                Write(to, 4, 1, i + 1, -1, first + layers + 1 + i, -1, -1, 0, 0, 0);
                continue;
            }
            var kernel = layers == 1 ? 3 : layer == 0 ? 0 : layer == layers - 1 ? 2 : 1;
            Write(to, kernel, 1, layer == 0 ? 0 : i, -1, i + 1, -1, -1, 0, 0, 0);
        }
        Write(to, 0);
        if (first > 0) Write(to, first);
        for (var i = 0; i < first; i++) Write(to, i == 0 ? "guides" : "guides_" + (i + 1));
        return bytes.ToArray();
    }

    static void Write(BinaryWriter to, params int[] numbers)
    {
        foreach (var number in numbers)
        {
            // 2n, or -2n - 1 below zero, in seven bits a byte, the lowest first.
            var left = number >= 0 ? 2L * number : -2L * number - 1;
            for (; left > 127; left >>= 7) to.Write((byte)(left & 127 | 128));
            to.Write((byte)left);
        }
    }

    static void Write(BinaryWriter to, string text)
    {
        Write(to, Encoding.UTF8.GetByteCount(text));
        to.Write(Encoding.UTF8.GetBytes(text));
    }

    // What kernels copied into buffers: texture by texture, pixels of four channels.
    public static readonly List<float[]> Guides = new List<float[]>();

    static float[] s_Values;

    static void Play(ComputeShader shader, string kernel, Dictionary<string, object> bound, int[] groups)
    {
        var shape = (int[])bound["_Shape"];
        int width = shape[0], height = shape[1], channels = shape[3];
        var flip = shape[15] != 0;
        if (kernel == "Guides")
        {
            var texture = (Texture)bound["_Picture"];
            if (texture.width != width || texture.height != height) throw new Exception("guides of another size");
            if (bound["_Output"] == null) throw new Exception("guides are copied nowhere");
            Guides.Add(Read(texture, width, height, 4, flip));
            return;
        }
        if (kernel == "First" || kernel == "Alone")
        {
            Stub.Networks.BeginRun();
            s_Values = Read((Texture)bound["_Picture"], width, height, channels, flip);
            Stub.Networks.LastInput = (float[])s_Values.Clone();
        }
        if (groups[0] != (width + 7) / 8 || groups[1] != (height + 7) / 8) throw new Exception("thread groups");
        if (kernel == "Between" && bound["_SourceA"] == bound["_Output"]) throw new Exception("read and written at once");
        Stub.Networks.RunLayer();
        if (kernel != "Last" && kernel != "Alone") return;

        Stub.Networks.Answer(s_Values, s_Keeping.Contains(shader));
        var painted = (RenderTexture)bound["_Painted"];
        if (!painted.enableRandomWrite) throw new Exception("kernels cannot write to this texture");
        for (var i = 0; i < width * height; i++)
        {
            var to = 4 * (Row(i / width, height, flip) * width + i % width);
            for (var c = 0; c < 3; c++) painted.texels[to + c] = s_Values[i * channels + (channels == 1 ? 0 : c)];
            painted.texels[to + 3] = 1;
        }
    }

    static int Row(int row, int height, bool flip) => flip ? height - 1 - row : row;

    static float[] Read(Texture picture, int width, int height, int channels, bool flip)
    {
        if (picture.width != width || picture.height != height) throw new Exception("the picture has another size");
        var values = new float[width * height * channels];
        for (var i = 0; i < width * height; i++)
        {
            var from = 4 * (Row(i / width, height, flip) * width + i % width);
            var t = picture.texels;
            if (channels == 1) values[i] = (t[from] + t[from + 1] + t[from + 2]) / 3;
            else Array.Copy(t, from, values, channels * i, channels);
        }
        return values;
    }
}

public static partial class Cases
{
    static StyleTransferModel StyleOf(int layers)
    {
        var style = Fixture.Style();
        EngineRig.SetLayers(style, layers);
        return style;
    }

    static int Buffers => Stub.Live.Count("ComputeBuffer");

    public static void two_styles_of_one_plan_share_their_buffers()
    {
        RenderTexture source = Fixture.Picture(16, 16), shown = Fixture.Canvas(16, 16);
        Stub.World.Blind = true;
        using (var one = new StyleTransferRunner(Fixture.Style()))
        {
            one.Stylize(source, shown, 1);
            var alone = Buffers;
            using (var other = new StyleTransferRunner(Fixture.Style()))
            {
                other.Stylize(source, shown, 1);
                Fixture.Equal(Buffers, alone + 1, "with another style: its weights");
            }
            Fixture.Equal(Buffers, alone, "without it");
        }
        Fixture.Equal(Buffers, 0, "at the end");
        Fixture.Free(source, shown);
    }

    public static void plans_that_differ_share_buffers_of_the_same_sizes()
    {
        RenderTexture source = Fixture.Picture(16, 16), shown = Fixture.Canvas(16, 16);
        Stub.World.Blind = true;
        using (var one = new StyleTransferRunner(StyleOf(3)))
        using (var other = new StyleTransferRunner(StyleOf(4)))
        using (var smaller = new StyleTransferRunner(StyleOf(2)))
        {
            one.Stylize(source, shown, 1);
            var alone = Buffers;
            other.Stylize(source, shown, 1);
            Fixture.Equal(Buffers, alone, "with another plan on two buffers");
            smaller.Stylize(source, shown, 1);
            if (Buffers <= alone) throw new Exception("a plan on one buffer has those of one on two");
        }
        Fixture.Equal(Buffers, 0, "at the end");
        Fixture.Free(source, shown);
    }

    public static void runs_under_way_at_once_have_buffers_of_their_own()
    {
        RenderTexture source = Fixture.Picture(16, 16), shown = Fixture.Canvas(16, 16);
        Stub.World.Blind = true;
        using (var one = new StyleTransferRunner(Fixture.Style()) { SpreadFrames = 3 })
        using (var other = new StyleTransferRunner(Fixture.Style()) { SpreadFrames = 3 })
        {
            one.Stylize(source, shown, 1);
            var alone = Buffers;
            other.Stylize(source, shown, 1);
            if (Buffers <= alone) throw new Exception("two runs in the same buffers");
        }
        Fixture.Equal(Buffers, 0, "at the end");
        Fixture.Free(source, shown);
    }

    static StyleTransferModel GuidedStyle()
    {
        var style = Fixture.Style();
        Stub.Reflect.Set(style.Model, "plan", new TextAsset(EngineRig.Plan(3, 3, 4, 1)));
        Stub.Reflect.Set(style, "guides", new[] { "depth", "normals", "mask" });
        Stub.Reflect.Set(style, "guideInputs", new[] { "guides", "guides_2" });
        EngineRig.Guides.Clear();
        return style;
    }

    public static void guides_are_copied_from_their_textures()
    {
        RenderTexture source = Fixture.Picture(16, 16), shown = Fixture.Canvas(16, 16);
        using (var runner = new StyleTransferRunner(GuidedStyle()))
        {
            runner.PrepareSize(16, 16);
            for (var i = 0; i < 2; i++)
                for (var at = 0; at < runner.GuideInput(i).texels.Length; at++) runner.GuideInput(i).texels[at] = at + 5000 * i;
            runner.Stylize(source, shown, 1);
            Fixture.Equal(EngineRig.Guides.Count, 2, "textures of guides");

            // The rows of textures begin at the bottom.
            Fixture.Equal(EngineRig.Guides[0][2], 4f * 15 * 16 + 2, "the first pixel of the first texture");
            Fixture.Equal(EngineRig.Guides[1][0], 5000f + 4 * 15 * 16, "the first pixel of the second");
            runner.PrepareSize(32, 16);
            Fixture.Equal(runner.GuideInput(1).width, 32, "columns after a change of size");
        }
        Fixture.Equal(Buffers, 0, "at the end");
        Fixture.Free(source, shown);
    }

    public static void a_golden_frame_has_its_guides_after_the_colour()
    {
        var style = GuidedStyle();
        var size = new WorkingSize(2, 1);
        WorkingSize result;
        int channels;
        using (var network = new ComputeEngine().Load(style, StyleTransferWorker.Compute))
        {
            var told = network.Describe();
            Fixture.Equal(string.Join(" ", told.Inputs.ToArray()), "input guides guides_2", "inputs");
            Fixture.Equal(told.Channels, 3, "channels of the first");
            network.Compute(new[] { .1f, .2f, .3f, 4, 5, 6, 7, 8, .4f, .5f, .6f, 14, 15, 16, 17, 18 }, size, out result, out channels);
        }
        Fixture.Equal(string.Join(" ", Stub.Networks.LastInput), "0.1 0.2 0.3 0.4 0.5 0.6", "colours");
        Fixture.Equal(string.Join(" ", EngineRig.Guides[0]), "4 5 6 7 14 15 16 17", "four channels");
        Fixture.Equal(EngineRig.Guides[1][0], 8f, "one channel");
        Fixture.Equal(EngineRig.Guides[1][4], 18f, "of the second pixel");
    }

    public static void a_machine_without_compute_shaders_is_told_what_to_build()
    {
        SystemInfo.supportsComputeShaders = false;
        Refused(Fixture.Style(), "--target barracuda-3.0 or inference-2");
    }

    public static void kernels_of_another_build_are_named()
    {
        var style = Fixture.Style();
        EngineRig.KernelsOf(style).kernels.Remove("Last");
        Refused(style, "has no kernel Last");
    }

    public static void a_lost_file_is_named()
    {
        var style = Fixture.Style();
        Stub.Reflect.Set(style.Model, "plan", null);
        Refused(style, "lost its .bytes file");
    }
}
