// What the cases need to know of an engine, for Sentis and Inference Engine; and the cases of theirs only.

using System;
using System.Collections.Generic;
using StyleTransfer;
using StyleTransfer.Inference;
using UnityEngine;
using UnityEngine.Rendering;
#if STYLETRANSFER_SENTIS
using Unity.Sentis;
#else
using Unity.InferenceEngine;
#endif

static class EngineRig
{
#if STYLETRANSFER_SENTIS
    public const string Target = "sentis-2.1";
#else
    public const string Target = "inference-2";
#endif
    public const StyleTransferWorker BestWorker = StyleTransferWorker.Compute;
    public static readonly bool RunsInsideFrames = true;
    public const StyleTransferWorker ProofWorker = StyleTransferWorker.CSharpBurst;

    public static readonly StyleTransferWorker[] Workers = { StyleTransferWorker.Compute, StyleTransferWorker.CSharpBurst };

    public static void Register() => Stub.Reflect.Start(typeof(StyleTransfer.Inference.InferenceEngine));

    public static UnityEngine.Object Import(int channels, int layers)
    {
        var network = new Model();
        network.inputs.Add(new Model.Input { name = "input", shape = new DynamicTensorShape(1, channels, -1, -1) });
        network.outputs.Add(new Model.Output { name = "output" });
        for (var layer = 0; layer < layers; layer++) network.layers.Add(new Layer());
        var imported = ScriptableObject.CreateInstance<ModelAsset>();
        Stub.Networks.ByAsset[imported] = network;
        return imported;
    }

    public static readonly bool StubsHaveStyles = true;

    public static void LetItPredict(StyleTransferModel predictor) => NetworkOf(predictor).stubPredicts = true;

    public static void GiveStyles(StyleTransferModel style, int count)
      => NetworkOf(style).inputs.Add
         (new Model.Input { name = "style_weights", shape = new DynamicTensorShape(1, count, 1, 1) });

    public static void LetItKeepItsInput(StyleTransferModel style) => NetworkOf(style).stubKeeps = true;

    public static void ImportFiles(UnityEngine.Object network, Action<byte[]> seen)
      => Stub.Networks.ByFile = file =>
         {
             seen(file);
             return Stub.Networks.ByAsset[network];
         };

    public static Model NetworkOf(StyleTransferModel style) => (Model)Stub.Networks.ByAsset[style.Model];

    public static void PrintWorkers()
    {
        foreach (StyleTransferWorker requested in Enum.GetValues(typeof(StyleTransferWorker)))
        {
            foreach (var compute in new[] { true, false })
            {
                foreach (var graphics in new[] { true, false })
                {
                    string note;
                    var worker = StyleTransfer.Inference.InferenceEngine.Choose(requested, compute, graphics, out note);
                    var type = StyleTransfer.Inference.InferenceEngine.BackendOf(worker);
                    Console.WriteLine(requested + "\t" + compute + "\t" + graphics + "\t" + worker + "\t" + type + "\t" + note);
                }
            }
        }
    }
}

public static partial class Cases
{
    public static void a_network_says_its_names_and_shape()
    {
        var style = Fixture.Style();
        var network = EngineRig.NetworkOf(style);
        network.inputs[0].shape.Set(2, 480);
        network.inputs[0].shape.Set(3, 640);
        Stub.Reflect.Set(style, "outputName", "output:0");
        using (var loaded = new InferenceNetwork(style, network, BackendType.CPU))
        {
            var told = loaded.Describe();
            Fixture.Equal(string.Join(" ", told.Inputs) + "/" + string.Join(" ", told.Outputs), "input/output:0", "names");
            Fixture.Equal(told.Width + "x" + told.Height + "x" + told.Channels, "640x480x3", "shape");
            network.inputs[0].shape.Set(3, -1);
            Fixture.Equal(loaded.Describe().Width, NetworkDescription.Unknown, "free width");
        }
    }

    public static void machines_without_compute_shaders_use_pixel_shaders()
    {
        SystemInfo.supportsComputeShaders = false;
        foreach (var channels in new[] { 1, 3 })
        {
            RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
            using (var runner = new StyleTransferRunner(Fixture.Style(channels)))
            {
                Fixture.Equal(runner.Worker, StyleTransferWorker.PixelShader, "worker");
                Fixture.Contains(runner.WorkerNote, "Compute shaders cannot be used");
                Fixture.Equal(runner.CanRecord, false, "inside a frame");
                runner.Stylize(source, shown, 1);
                runner.Stylize(source, shown, 1);
            }
            if (channels == 3) Fixture.IsInverted(source, shown);
            Fixture.Free(source, shown);
        }
    }

    public static void what_a_network_gives_is_clamped_when_it_becomes_a_picture()
    {
        const float Beyond = 2;
        foreach (var worker in new[]
          { StyleTransferWorker.Compute, StyleTransferWorker.PixelShader, StyleTransferWorker.CSharpBurst })
        {
            SystemInfo.supportsComputeShaders = worker != StyleTransferWorker.PixelShader;
            RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
            Stub.Networks.Flicker = Beyond;
            using (var runner = new StyleTransferRunner(Fixture.Style(), worker))
            {
                for (var run = 0; run < 2; run++)
                {
                    runner.Stylize(source, shown, 1);
                    var texels = Array.FindAll(runner.Picture.texels, texel => texel != 0 && texel != 1);
                    Fixture.Equal(texels.Length, 0, worker + ": texels of neither end");
                }
            }
            Fixture.Free(source, shown);
        }

        var style = Fixture.Style();
        using (var loaded = new InferenceNetwork(style, EngineRig.NetworkOf(style), BackendType.CPU))
        {
            WorkingSize result;
            int channels;
            var size = new WorkingSize(1, 1);
            var bright = loaded.Compute(new[] { 0.25f, 0.5f, 0.75f }, size, out result, out channels);
            var dark = loaded.Compute(new[] { 0.25f, 0.5f, 0.75f }, size, out result, out channels);
            Fixture.Equal(bright[1] + dark[1], 1f, "the two ends, as numbers");
        }
        Stub.Networks.Flicker = 0;
    }

    sealed class DequantizeUint8 : Layer {}

    public static void packed_weights_run_on_the_cpu_where_there_are_no_compute_shaders()
    {
        SystemInfo.supportsComputeShaders = false;
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var style = Fixture.Style();
        EngineRig.NetworkOf(style).layers.Add(new DequantizeUint8());
        using (var runner = new StyleTransferRunner(style)) runner.Stylize(source, shown, 1);
        Fixture.IsInverted(source, shown);
        Fixture.Equal(Stub.World.LogCount("so it runs on the CPU"), 1, "warnings");
        Fixture.Free(source, shown);
    }

    public static void nothing_is_waited_for_with_the_cpu_worker()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var camera = Fixture.Camera(Fixture.Style());
        camera.Worker = StyleTransferWorker.CSharpBurst;
        Stub.World.ReadbackFrames = 2;
        Stub.Reflect.Send(camera, "OnEnable");
        for (var frame = 0; frame < 4; frame++)
        {
            Stub.World.Frame = frame;
            Fixture.Frame(camera, source, shown);
            Fixture.IsSame(source, shown, "frame " + frame + ", the picture is on its way, or the jobs are not done");
        }
        Stub.World.Frame = 4;
        Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown);
        Fixture.Equal(Stub.Networks.Executions, 1, "runs");
        Fixture.Equal(Stub.World.GpuWaits, 0, "waits");

        // What is under way when it is disabled ends first.
        Fixture.Frame(camera, source, shown);
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void a_runner_waits_for_the_cpu_worker_unless_told_otherwise()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        Stub.World.ReadbackFrames = 2;
        using (var runner = new StyleTransferRunner(Fixture.Style(), StyleTransferWorker.CSharpBurst))
        {
            runner.Stylize(source, shown, 1);
            Fixture.IsInverted(source, shown);
            runner.Waits = false;
            runner.Stylize(source, shown, 1);
            Fixture.Equal(runner.IsRunning, true, "running");
        }
        Fixture.Free(source, shown);
    }

    public static void a_gpu_that_can_only_be_read_back_at_once_is()
    {
        SystemInfo.supportsAsyncGPUReadback = false;
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        using (var runner = new StyleTransferRunner(Fixture.Style(), StyleTransferWorker.CSharpBurst))
            runner.Stylize(source, shown, 1);
        Fixture.IsInverted(source, shown);
        Fixture.Free(source, shown);
    }

    public static void a_network_that_fails_while_it_is_recorded_is_switched_off()
    {
        GraphicsSettings.renderPipelineAsset = new ForeignPipeline { name = "UniversalRP" };
        using (var scene = new MovingScene(false))
        {
            var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            var camera = SceneCamera();
            Stub.Reflect.Send(camera, "OnEnable");
            Stub.Networks.Broken = true;
            var commands = new CommandBuffer();
            for (var frame = 0; frame < 3; frame++) RecordFrame(camera, commands, scene, shown, frame);
            Fixture.Equal(Stub.World.LogCount("'Candy' failed"), 1, "errors");
            commands.Dispose();
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Free(shown);
        }
    }
}
