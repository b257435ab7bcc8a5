// What the cases need to know of an engine, for Barracuda; and the cases of Barracuda only.

using System;
using System.Collections.Generic;
using StyleTransfer;
using StyleTransfer.Barracuda;
using StyleTransfer.Editor;
using Unity.Barracuda;
using UnityEngine;
using UnityEngine.Rendering;

static class EngineRig
{
    public const string Target = "barracuda-3.0";
    public const StyleTransferWorker BestWorker = StyleTransferWorker.ComputePrecompiled;
    public static readonly bool RunsInsideFrames = false;
    public const StyleTransferWorker ProofWorker = StyleTransferWorker.CSharpBurst;

    public static bool IsModern => typeof(Model).GetProperty("Metadata") != null;

    public static StyleTransferWorker[] Workers
      => IsModern
         ? new[]
           {
               StyleTransferWorker.ComputePrecompiled, StyleTransferWorker.Compute, StyleTransferWorker.PixelShader,
               StyleTransferWorker.CSharpBurst, StyleTransferWorker.CSharp
           }
         : new[]
           {
               StyleTransferWorker.ComputePrecompiled, StyleTransferWorker.Compute, StyleTransferWorker.CSharpBurst,
               StyleTransferWorker.CSharp
           };

    // As Unity does before the first scene.
    public static void Register()
    {
        BarracudaEngine.Importer = null;
        Stub.Reflect.Start(typeof(BarracudaEngine));
    }

    public static UnityEngine.Object Import(int channels, int layers)
    {
        var network = new Model();
        var hasRank = typeof(Model.Input).GetField("rank") != null;
        var shape = hasRank ? new[] { 1, 1, -1, 1, 1, -1, -1, channels } : new[] { -1, -1, -1, channels };
        network.inputs.Add(new Model.Input { name = "input", shape = shape });
        network.outputs.Add("output");
        for (var layer = 0; layer < layers; layer++) network.layers.Add(new Layer());
        var imported = ScriptableObject.CreateInstance<NNModel>();
        Stub.Networks.ByAsset[imported] = network;
        return imported;
    }

    public static readonly bool StubsHaveStyles = true;

    public static void LetItPredict(StyleTransferModel predictor) => NetworkOf(predictor).stubPredicts = true;

    public static void GiveStyles(StyleTransferModel style, int count)
      => NetworkOf(style).inputs.Add(new Model.Input { name = "style_weights", shape = new[] { 1, 1, 1, count } });

    public static void LetItKeepItsInput(StyleTransferModel style) => NetworkOf(style).stubKeeps = true;

    // Files load as this network; "seen" gets their bytes.
    public static void ImportFiles(UnityEngine.Object network, Action<byte[]> seen)
      => BarracudaEngine.Importer = new Importer { Network = (Model)Stub.Networks.ByAsset[network], Seen = seen };

    sealed class Importer : BarracudaImporter
    {
        public Model Network;
        public Action<byte[]> Seen;

        public override Model Import(byte[] file)
        {
            Seen(file);
            return Network;
        }
    }

    public static Model NetworkOf(StyleTransferModel style) => (Model)Stub.Networks.ByAsset[style.Model];

    public static void WriteMetadata(StyleTransferModel style, string key, string value)
    {
        if (!IsModern) return;
        var metadata = (Dictionary<string, string>)typeof(Model).GetProperty("Metadata").GetValue(NetworkOf(style), null);
        if (value == null) metadata.Remove(key);
        else metadata[key] = value;
    }

    public static void PrintWorkers()
    {
        foreach (StyleTransferWorker requested in Enum.GetValues(typeof(StyleTransferWorker)))
        {
            foreach (var compute in new[] { true, false })
            {
                foreach (var graphics in new[] { true, false })
                {
                    string note;
                    var worker = BarracudaWorkers.Choose(requested, compute, graphics, out note);
                    var type = BarracudaWorkers.TypeOf(worker);
                    if (type.ToString() != worker.ToString()) throw new Exception(worker + " is not " + type);
                    Console.WriteLine(requested + "=" + (int)requested + "\t" + compute + "\t" + graphics + "\t" + worker + "\t" + note);
                }
            }
        }
    }
}

public static partial class Cases
{
    public static void the_order_of_channels_is_set_before_the_first_network_and_not_on_phones()
    {
        var info = typeof(Model).Assembly.GetType("Unity.Barracuda.ComputeInfo");
        var modern = info != null;
        string note;
        Fixture.Equal(BarracudaChannels.TrySet(ChannelOrder.Last, out note), true, "the default holds");
        Application.isMobilePlatform = true;
        Fixture.Equal(BarracudaChannels.TrySet(ChannelOrder.First, out note), false, "a phone");
        Application.isMobilePlatform = false;

        var style = Fixture.Style();
        using (new BarracudaNetwork(style, EngineRig.NetworkOf(style), StyleTransferWorker.CSharp))
            Fixture.Equal(BarracudaChannels.TrySet(ChannelOrder.First, out note), false, "while one is loaded");
        Fixture.Equal(note != null, true, "the reason");

        Fixture.Equal(BarracudaChannels.TrySet(ChannelOrder.First, out note), modern, "before the first");
        Fixture.Equal(note == null, modern, "no reason where it holds");
        if (modern)
            Fixture.Equal(info.GetField("channelsOrder").GetValue(null).ToString(), "NCHW", "Barracuda has it");
        Fixture.Equal(BarracudaChannels.Current == ChannelOrder.First, modern, "the current order");

        var settings = new GameObject("settings").AddComponent<BarracudaSettings>();
        Stub.Reflect.Send(settings, "Awake");
        Fixture.Equal(BarracudaChannels.Current, ChannelOrder.Last, "the component's default");
        UnityEngine.Object.DestroyImmediate(settings.gameObject);
    }

    public static void a_network_says_its_names_shape_and_metadata()
    {
        var style = Fixture.Style();
        var network = EngineRig.NetworkOf(style);
        var shape = network.inputs[0].shape;
        shape[shape.Length - 2] = 640;
        shape[shape.Length - 3] = 480;
        using (var loaded = new BarracudaNetwork(style, network, StyleTransferWorker.CSharp))
        {
            var told = loaded.Describe();
            Fixture.Equal(string.Join(" ", told.Inputs) + "/" + string.Join(" ", told.Outputs), "input/output", "names");
            Fixture.Equal(told.Width + "x" + told.Height + "x" + told.Channels, "640x480x3", "shape");
            Fixture.Equal(told.Metadata == null, true, "without metadata");
            EngineRig.WriteMetadata(style, "source_digest", "d");
            Fixture.Equal(loaded.Describe().Metadata != null, EngineRig.IsModern, "metadata");
            shape[shape.Length - 2] = -1;
            Fixture.Equal(loaded.Describe().Width, NetworkDescription.Unknown, "free width");
        }
    }

    public static void opengl_es_counts_as_without_compute_shaders()
    {
        SystemInfo.graphicsDeviceType = GraphicsDeviceType.OpenGLES3;
        string note;
        var worker = StyleTransferEngines.Installed.Choose(StyleTransferWorker.Auto, out note);
        Fixture.Equal(worker.ToString(), EngineRig.IsModern ? "PixelShader" : "CSharpBurst", "worker");
        Fixture.Contains(note, "Compute shaders cannot be used");
    }

    public static void textures_of_the_pixel_shader_worker_are_no_larger_than_the_gpu_has()
    {
        if (!EngineRig.IsModern) return;
        var field = typeof(Model).Assembly.GetType("Unity.Barracuda.TextureTensorData").GetField("MaxTextureSize");
        SystemInfo.maxTextureSize = 4096;
        new StyleTransferRunner(Fixture.Style(), StyleTransferWorker.PixelShader).Dispose();
        Fixture.Equal(field.GetValue(null), 4096, "texels a side");
        SystemInfo.maxTextureSize = 16384;
        field.SetValue(null, 16384);
    }

    public static void the_pixel_shader_worker_is_swept_now_and_then()
    {
        if (!EngineRig.IsModern) return;
        RenderTexture source = Fixture.Picture(16, 16), shown = Fixture.Canvas(16, 16);
        Stub.World.Blind = true;
        foreach (var worker in new[] { StyleTransferWorker.PixelShader, StyleTransferWorker.Compute })
        {
            Stub.World.Sweeps = 0;
            using (var runner = new StyleTransferRunner(Fixture.Style(), worker))
                for (var frame = 0; frame < 1300; frame++) runner.Stylize(source, shown, 1);
            Fixture.Equal(Stub.World.Sweeps, worker == StyleTransferWorker.Compute ? 0 : 2, worker.ToString());
        }
        Fixture.Free(source, shown);
    }

    public static void a_golden_frame_falls_back_to_plain_csharp()
    {
        Stub.Networks.BurstBroken = true;
        var style = Golden(0);
        var result = GoldenFrames.Check(style);
        Fixture.Equal(result.Passed, true, result.Message);
        Fixture.Contains(result.Message, "on CSharp,");
        FreeGolden(style);
    }

    public static void packed_weights_without_an_importer_say_what_to_do()
    {
        var style = Packed(file => {});
        BarracudaEngine.Importer = null;
        Stub.Reflect.Set(style, "target", StyleTransferEngines.Installed.Target);
        Refused(style, "cannot load packed weights. Build it again with --weights float");
    }
}
