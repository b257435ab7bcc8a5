// Runs the generated C# against the stubs. Every public static method without parameters of the class Cases is one
// case; a line "name<TAB>ok" or "name<TAB>what is wrong" is printed for each. After each case nothing may be alive
// that must be freed.
//   Cases.exe sizes    reads "width height target multiple" lines, writes "width height" lines
//   Cases.exe budget   reads "begin", "learn layer ms", "scale ratio", "expect layer budget", "fits layer spent budget"
//                      lines, writes an answer each
//   Cases.exe shade    reads a pass and its textures, writes what it draws: see Shading
//   Cases.exe depth    reads "near far orthographic reversed" lines, writes EyeDepth's four numbers
//   Cases.exe governor reads "frame-ms target-ms" lines, writes "level" lines
//   Cases.exe workers  writes "requested compute graphics type note" lines

using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.IO.Compression;
using System.Reflection;
using System.Threading;
using StyleTransfer;
using StyleTransfer.Editor;
using UnityEngine;
using UnityEngine.Rendering;

public static class Program
{
    public static int Main(string[] arguments)
    {
        if (arguments.Length > 0 && arguments[0] == "benchmark")
            return BenchmarkCases.Answer(new List<string>(arguments).GetRange(1, arguments.Length - 1));
        if (arguments.Length > 0 && arguments[0] == "sizes") return PrintSizes();
        if (arguments.Length > 0 && arguments[0] == "workers") return PrintWorkers();
        if (arguments.Length > 0 && arguments[0] == "budget") return PrintBudget();
        if (arguments.Length > 0 && arguments[0] == "governor") return PrintGovernor();

        if (arguments.Length > 0 && arguments[0] == "shade") return Shading.Print();
        if (arguments.Length > 0 && arguments[0] == "depth") return Shading.PrintDepth();

        const BindingFlags flags = BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly;
        foreach (var method in typeof(Cases).GetMethods(flags))
        {
            // What the arguments name is left out.
            if (Array.IndexOf(arguments, method.Name) >= 0) continue;
            Fixture.Reset();
            var outcome = "ok";
            try
            {
                method.Invoke(null, null);
                var leaks = Stub.Live.Leaks();
                if (leaks != "") outcome = "alive: " + leaks;
            }
            catch (TargetInvocationException exception)
            {
                outcome = exception.InnerException.ToString().Replace("\n", " | ").Replace("\t", " ");
            }
            Console.WriteLine(method.Name + "\t" + outcome);
        }
        return 0;
    }

    static int PrintSizes()
    {
        string line;
        while ((line = Console.ReadLine()) != null)
        {
            var n = Array.ConvertAll(line.Split(' '), int.Parse);
            var size = WorkingSize.Fit(n[0], n[1], n[2], n[3]);
            Console.WriteLine(size.Width + " " + size.Height);
        }
        return 0;
    }

    static int PrintBudget()
    {
        var budget = new LayerBudget(4);
        string line;
        while ((line = Console.ReadLine()) != null)
        {
            var words = line.Split(' ');
            var n = new float[3];
            for (var i = 1; i < words.Length; i++) n[i - 1] = Number(words[i]);
            object answer = "";
            if (words[0] == "begin") answer = budget.BeginRun();
            if (words[0] == "learn") budget.Learn((int)n[0], n[1]);
            if (words[0] == "scale") budget.Scale(n[0]);
            if (words[0] == "expect") answer = budget.Expect((int)n[0], n[1]);
            if (words[0] == "fits") answer = budget.Fits((int)n[0], n[1], n[2]);
            Console.WriteLine(Convert.ToString(answer, CultureInfo.InvariantCulture));
        }
        return 0;
    }

    static int PrintGovernor()
    {
        var governor = new FrameRateGovernor();
        string line;
        while ((line = Console.ReadLine()) != null)
        {
            var words = line.Split(' ');
            var before = governor.Level;
            var changed = governor.Tick(Number(words[0]), Number(words[1]));
            if (changed != (governor.Level != before)) throw new Exception("change not told");
            Console.WriteLine(governor.Level);
        }
        return 0;
    }

    static float Number(string text) => float.Parse(text, CultureInfo.InvariantCulture);

    static int PrintWorkers()
    {
        EngineRig.PrintWorkers();
        return 0;
    }
}

static class Fixture
{
    public const int Layers = 10;
    public const int Width = 32;
    public const int Height = 16;

    public static void Reset()
    {
        Stub.Live.Clear();
        Stub.World.Logs.Clear();
        Stub.World.Sweeps = 0;
        Stub.World.ExitCode = null;
        Stub.World.Shade = Hlsl.Gpu.Draw;
        Stub.World.Replace = null;
        Shader.globals.Clear();
        SystemInfo.usesReversedZBuffer = true;
        SystemInfo.supportsMotionVectors = true;
        Stub.Assets.All.Clear();
        Stub.Networks.Reset();
        Engines.Clear();
        EngineRig.Register();
        Stub.World.GpuWaits = 0;
        Stub.World.Frame = Stub.World.ReadbackFrames = 0;
        Stub.World.Blind = false;
        Stub.World.Samples.Clear();
        Stub.World.LostShader = null;
        SystemInfo.supportsAsyncGPUReadback = true;
        SystemInfo.supportsComputeShaders = true;
        SystemInfo.graphicsDeviceType = GraphicsDeviceType.Vulkan;
        QualitySettings.activeColorSpace = ColorSpace.Gamma;
        GraphicsSettings.renderPipelineAsset = null;
        Time.unscaledDeltaTime = 1 / 60f;
        Application.isPlaying = true;
        Application.isBatchMode = false;
    }

    // The list of the runtime, which nothing but a test ever empties.
    public static List<StyleTransferEngine> Engines
      => (List<StyleTransferEngine>)typeof(StyleTransferEngines)
         .GetField("s_All", BindingFlags.Static | BindingFlags.NonPublic).GetValue(null);

    public static StyleTransferModel Style(int channels = 3)
    {
        var style = ScriptableObject.CreateInstance<StyleTransferModel>();
        var values = new Dictionary<string, object>
        {
            { "model", EngineRig.Import(channels, Layers) }, { "displayName", "Candy" }, { "source", "candy.pth" },
            { "sourceDigest", "d1g35t" }, { "modelDigest", "m" }, { "architecture", "a" },
            { "target", EngineRig.Target }, { "inputName", "input" }, { "outputName", "output" },
            { "inputChannels", channels }, { "outputChannels", channels }, { "nominalWidth", Width },
            { "nominalHeight", Height }, { "sizeMultiple", 4 }, { "fixedSize", false }, { "outputScale", 1f },
            { "weights", 1 }, { "gigaMacs", 1f }, { "fileBytes", 1 }, { "goldenTolerance", 0.5f }
        };
        foreach (var pair in values) Stub.Reflect.Set(style, pair.Key, pair.Value);
        return style;
    }

    // A picture whose every texel differs; row 0 is the bottom.
    public static RenderTexture Picture(int width = Width, int height = Height, int frame = 0)
    {
        var picture = new RenderTexture(width, height, 0, RenderTextureFormat.ARGB32, RenderTextureReadWrite.Default);
        picture.Create();
        Paint(picture, frame);
        return picture;
    }

    // What nothing was drawn on yet.
    public static RenderTexture Canvas(int width = Width, int height = Height)
    {
        var canvas = Picture(width, height);
        for (var i = 0; i < canvas.texels.Length; i++) canvas.texels[i] = -1;
        return canvas;
    }

    public static void Paint(RenderTexture picture, int frame)
    {
        for (var i = 0; i < picture.width * picture.height; i++)
        {
            picture.texels[4 * i] = (i * 7 + frame * 31) % 256 / 255f;
            picture.texels[4 * i + 1] = (i * 13 + frame * 5) % 256 / 255f;
            picture.texels[4 * i + 2] = (i / picture.width * 16 + frame) % 256 / 255f;
            picture.texels[4 * i + 3] = 0.25f;
        }
    }

    public static void Free(params RenderTexture[] textures)
    {
        foreach (var texture in textures)
        {
            texture.Release();
            UnityEngine.Object.DestroyImmediate(texture);
        }
    }

    public static StyleTransferCamera Camera(StyleTransferModel style)
    {
        var camera = new StyleTransferCamera();
        camera.gameObject.AddComponent<UnityEngine.Camera>();
        Stub.Reflect.Set(camera, "model", style);
        Stub.Reflect.Set(camera, "convertShader", Shader.Find("Hidden/StyleTransfer/Convert"));
        Stub.Reflect.Set(camera, "targetHeight", Height);
        return camera;
    }

    // In the built-in render pipeline.
    public static void Frame(StyleTransferCamera camera, RenderTexture source, RenderTexture destination)
    {
        Stub.Reflect.Send(camera, "LateUpdate");
        Stub.Reflect.Send(camera, "OnRenderImage", source, destination);
    }

    // The stub network inverts its input.
    public static void IsInverted(RenderTexture source, RenderTexture shown, float strength = 1, string what = "")
    {
        for (var i = 0; i < source.texels.Length; i++)
        {
            var wanted = source.texels[i];
            if (i % 4 != 3) wanted += (1 - 2 * wanted) * strength;
            Near(shown.texels[i], wanted, 0.003f, what + " texel " + i / 4 + " channel " + i % 4);
        }
    }

    public static void IsSame(RenderTexture source, RenderTexture shown, string what = "")
      => IsInverted(source, shown, 0, what);

    public static void Near(float actual, float wanted, float tolerance, string what)
    {
        if (!(Math.Abs(actual - wanted) <= tolerance))
            throw new Exception(what + ": " + actual + " instead of " + wanted);
    }

    public static void Equal(object actual, object wanted, string what)
    {
        if (!Equals(actual, wanted)) throw new Exception(what + ": " + actual + " instead of " + wanted);
    }

    public static void Contains(string text, string part)
    {
        if (text == null || !text.Contains(part)) throw new Exception("'" + part + "' is not in: " + text);
    }
}

public static partial class Cases
{
    public static void every_worker_shows_each_frame_upright_in_the_right_colours()
    {
        foreach (var worker in EngineRig.Workers)
        {
            RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
            using (var runner = new StyleTransferRunner(Fixture.Style(), worker))
            {
                for (var frame = 0; frame < 4; frame++)
                {
                    Fixture.Paint(source, frame);
                    runner.Stylize(source, shown, 1);
                    Fixture.IsInverted(source, shown, 1, worker + " frame " + frame);

                    // Row 0 of the tensor is the top, row 0 of the texture the bottom.
                    var top = (Fixture.Height - 1) * Fixture.Width * 4;
                    for (var c = 0; c < 3; c++)
                        Fixture.Near(Stub.Networks.LastInput[c], source.texels[top + c], 0.003f, worker + " top left");
                }
            }
            Fixture.Free(source, shown);
        }
        Fixture.Equal(Stub.Networks.Executions, 4 * EngineRig.Workers.Length, "runs");
    }

    public static void cpu_workers_need_no_compute_shaders()
    {
        if (Array.IndexOf(EngineRig.Workers, StyleTransferWorker.CSharpBurst) < 0) return;
        SystemInfo.supportsComputeShaders = false;
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        using (var runner = new StyleTransferRunner(Fixture.Style(), StyleTransferWorker.CSharpBurst))
            runner.Stylize(source, shown, 1);
        Fixture.IsInverted(source, shown);
        Fixture.Free(source, shown);
    }

    public static void a_grey_network_sees_the_mean_and_shows_grey()
    {
        foreach (var worker in EngineRig.Workers)
        {
            RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
            using (var runner = new StyleTransferRunner(Fixture.Style(1), worker))
                runner.Stylize(source, shown, 1);
            for (var i = 0; i < source.texels.Length; i += 4)
            {
                var grey = 1 - (source.texels[i] + source.texels[i + 1] + source.texels[i + 2]) / 3;
                for (var c = 0; c < 3; c++) Fixture.Near(shown.texels[i + c], grey, 0.005f, worker + " texel " + i / 4);
            }
            Fixture.Free(source, shown);
        }
    }

    public static void strength_blends_and_zero_does_not_run_the_network()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        using (var runner = new StyleTransferRunner(Fixture.Style(), EngineRig.BestWorker))
        {
            runner.Stylize(source, shown, 0);
            Fixture.IsSame(source, shown);
            Fixture.Equal(Stub.Networks.Executions, 0, "runs at strength 0");
            runner.Stylize(source, shown, 0.25f);
            Fixture.IsInverted(source, shown, 0.25f);
        }
        Fixture.Free(source, shown);
    }

    public static void a_linear_project_is_converted_both_ways()
    {
        QualitySettings.activeColorSpace = ColorSpace.Linear;
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        using (var runner = new StyleTransferRunner(Fixture.Style(), EngineRig.BestWorker))
            runner.Stylize(source, shown, 1);
        for (var i = 0; i < source.texels.Length; i++)
        {
            if (i % 4 == 3) continue;
            var wanted = (float)Linear(1 - Srgb(source.texels[i]));
            Fixture.Near(shown.texels[i], wanted, 0.003f, "value " + i);
        }
        Fixture.Free(source, shown);
    }

    static double Srgb(double x) => x <= 0.0031308 ? x * 12.92 : 1.055 * Math.Pow(x, 1 / 2.4) - 0.055;

    static double Linear(double x) => x <= 0.04045 ? x / 12.92 : Math.Pow((x + 0.055) / 1.055, 2.4);

    public static void null_is_the_screen()
    {
        var source = Fixture.Picture();
        using (var runner = new StyleTransferRunner(Fixture.Style(), EngineRig.BestWorker))
            runner.Stylize(source, null, 1);
        Fixture.Free(source);
    }

    public static void frames_of_one_size_allocate_no_textures()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        foreach (var worker in EngineRig.Workers)
        {
            using (var runner = new StyleTransferRunner(Fixture.Style(), worker))
            {
                runner.Stylize(source, shown, 1);
                var before = Counts();
                for (var frame = 0; frame < 10; frame++) runner.Stylize(source, shown, 1);
                Fixture.Equal(Counts(), before, worker.ToString());
            }
        }
        Fixture.Free(source, shown);
    }

    static string Counts()
    {
        var text = "";
        foreach (var kind in new[] { "RenderTexture", "Texture2D", "Material", "Tensor", "tensor storage", "video memory" })
            text += kind + Stub.Live.Count(kind) + " ";
        return text;
    }

    public static void a_new_size_frees_the_old_one()
    {
        foreach (var worker in EngineRig.Workers)
        {
            RenderTexture small = Fixture.Picture(), large = Fixture.Picture(64, 48), shown = Fixture.Canvas(64, 48);
            using (var runner = new StyleTransferRunner(Fixture.Style(), worker))
            {
                runner.Stylize(small, shown, 1);
                var before = Counts();
                runner.TargetHeight = 48;
                runner.Stylize(large, shown, 1);
                Fixture.IsInverted(large, shown, 1, worker.ToString());
                Fixture.Equal(runner.Size.Width + "x" + runner.Size.Height, "64x48", "size");
                Fixture.Equal(Counts(), before, worker.ToString());
            }
            Fixture.Free(small, large, shown);
        }
    }

    public static void a_fixed_size_network_runs_at_its_size()
    {
        var style = Fixture.Style();
        Stub.Reflect.Set(style, "fixedSize", true);
        RenderTexture source = Fixture.Picture(64, 48), shown = Fixture.Canvas(64, 48);
        using (var runner = new StyleTransferRunner(style, EngineRig.BestWorker))
        {
            runner.TargetHeight = 48;
            runner.Stylize(source, shown, 1);
            Fixture.Equal(runner.Size.Width + "x" + runner.Size.Height, "32x16", "size");
        }
        Fixture.Free(source, shown);
    }

    public static void a_run_can_be_spread_over_frames()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas(), first = Fixture.Picture();
        using (var runner = new StyleTransferRunner(Fixture.Style(), EngineRig.BestWorker))
        {
            runner.SpreadFrames = 3;
            var layers = 0;
            for (var frame = 0; frame < 2; frame++)
            {
                Fixture.Paint(source, frame);
                runner.Stylize(source, shown, 1);
                Fixture.IsSame(source, shown, "before the first run ends");
                var share = Stub.Networks.LayersRun - layers;
                if (share < 2 || share > 5) throw new Exception(share + " of 10 layers in one of 3 frames");
                layers = Stub.Networks.LayersRun;
            }
            for (var frame = 2; frame < 5; frame++)
            {
                Fixture.Paint(source, frame);
                runner.Stylize(source, shown, 1);
                for (var i = 0; i < shown.texels.Length; i++)
                    if (i % 4 != 3) Fixture.Near(shown.texels[i], 1 - first.texels[i], 0.003f, "first run's picture");
            }
            Fixture.Equal(Stub.Networks.Executions, 2, "runs");
            runner.Stylize(source, shown, 1);
            Fixture.Equal(Stub.Networks.LayersRun, 20, "layers after two runs");

            // A new size gives up the run under way.
            runner.Stylize(source, shown, 1);
            runner.SpreadFrames = 1;
            runner.TargetHeight = 24;
            Fixture.Paint(source, 9);
            runner.Stylize(source, shown, 1);
        }
        Fixture.Free(source, shown, first);
    }

    static int FramesOfOneRun(StyleTransferRunner runner, RenderTexture source, RenderTexture shown)
    {
        var runs = Stub.Networks.Executions;
        for (var frame = 1; ; frame++)
        {
            runner.Stylize(source, shown, 1);
            Fixture.Equal(Stub.Networks.Executions, runs + 1, "runs begun");
            if (!runner.IsRunning) return frame;
        }
    }

    public static void a_budget_runs_as_many_layers_per_frame_as_fit()
    {
        Stub.Networks.Slow = true;
        foreach (var worker in EngineRig.Workers)
        {
            RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
            using (var runner = new StyleTransferRunner(Fixture.Style(), worker))
            {
                // Four unknown layers per frame, then one: no measured layer fits into so little time.
                runner.BudgetMilliseconds = 0.000001f;
                Stub.World.GpuWaits = 0;
                Fixture.Equal(FramesOfOneRun(runner, source, shown), 3, worker + ": frames of the first run");
                Fixture.Equal(Stub.World.GpuWaits, 0, worker + ": waits in the first run");
                Fixture.Equal(FramesOfOneRun(runner, source, shown), 11, worker + ": frames of the measured run");
                var waits = worker == StyleTransferWorker.CSharpBurst || worker == StyleTransferWorker.CSharp ? 0 : 22;
                Fixture.Equal(Stub.World.GpuWaits, waits, worker + ": waits in the measured run");
                Fixture.Equal(FramesOfOneRun(runner, source, shown), 11, worker + ": frames of the third run");
                runner.BudgetMilliseconds = 1e6f;
                Fixture.Equal(FramesOfOneRun(runner, source, shown), 1, worker + ": frames with time enough");
                Fixture.Equal(Stub.World.GpuWaits, waits, worker + ": waits after the measured run");
                Fixture.IsInverted(source, shown, 1, worker.ToString());
            }
            Fixture.Free(source, shown);
        }
    }

    public static void a_gpu_that_cannot_say_when_it_is_done_goes_by_frames()
    {
        if (!RunsOnGpu) return;
        SystemInfo.supportsAsyncGPUReadback = false;
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        using (var runner = new StyleTransferRunner(Fixture.Style(), EngineRig.BestWorker))
        {
            runner.BudgetMilliseconds = 0.000001f;
            runner.SpreadFrames = 2;
            Fixture.Equal(FramesOfOneRun(runner, source, shown), 2, "frames");
        }
        Fixture.Free(source, shown);
    }

    public static void the_component_frees_all_that_it_made()
    {
        if (!RunsOnGpu) return;
        foreach (var requested in new[] { StyleTransferWorker.Auto, StyleTransferWorker.PixelShader, StyleTransferWorker.CSharpBurst })
        {
            RenderTexture source = Fixture.Picture(), large = Fixture.Picture(64, 48), shown = Fixture.Canvas();
            var camera = Fixture.Camera(Fixture.Style());
            camera.Worker = requested;
            for (var round = 0; round < 3; round++)
            {
                Stub.Reflect.Send(camera, "OnEnable");
                Fixture.Frame(camera, source, shown);
                Fixture.IsInverted(source, shown);
                camera.TargetHeight = 32;
                Fixture.Frame(camera, large, shown);
                camera.TargetHeight = Fixture.Height;
                camera.Model = Fixture.Style();
                for (var frame = 0; frame < 10; frame++) Fixture.Frame(camera, source, shown);
                Fixture.Equal(ReferenceEquals(camera.Runner.Model, camera.Model), true, "switched");
                Fixture.Equal(Stub.Live.Count("Worker"), 1, "workers");
                camera.Worker = StyleTransferWorker.Compute;
                Fixture.Frame(camera, source, shown);
                Fixture.Equal(camera.Runner.Worker, StyleTransferWorker.Compute, "worker");
                camera.Worker = requested;
                Stub.Reflect.Send(camera, "OnDisable");
                Fixture.Equal(camera.Runner, null, "runner while disabled");
                Fixture.Equal(Stub.Live.Count("Worker"), 0, "workers while disabled");
                Fixture.Equal(Stub.Live.Count("RenderTexture"), 3, "textures while disabled");
            }
            Fixture.Free(source, large, shown);
        }
    }

    public static void in_edit_mode_the_style_is_shown_only_where_that_is_asked_for()
    {
        Application.isPlaying = false;
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var camera = Fixture.Camera(Fixture.Style());
        Stub.Reflect.Send(camera, "OnEnable");
        Fixture.Frame(camera, source, shown);
        Fixture.IsSame(source, shown, "not asked for");
        Fixture.Equal(Stub.Live.Count("Worker"), 0, "workers where it is not asked for");
        camera.PreviewInEditMode = true;
        for (var frame = 0; frame < 2; frame++) Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown);
        camera.PreviewInEditMode = false;
        Fixture.Frame(camera, source, shown);
        Fixture.IsSame(source, shown, "switched off");
        Fixture.Equal(Stub.Live.Count("Worker"), 0, "workers after it is switched off");
        camera.PreviewInEditMode = true;
        Fixture.Frame(camera, source, shown);
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void off_shows_the_camera_and_keeps_the_network()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var camera = Fixture.Camera(Fixture.Style());
        Stub.Reflect.Send(camera, "OnEnable");
        camera.Stylize = false;
        Fixture.Frame(camera, source, shown);
        Fixture.IsSame(source, shown);
        Fixture.Equal(Stub.Networks.Executions, 0, "runs");
        Fixture.Equal(Stub.Live.Count("Worker"), 1, "workers");
        camera.Stylize = true;
        Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown);
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void a_model_given_after_enabling_is_loaded_without_complaint()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var camera = Fixture.Camera(null);
        Stub.Reflect.Send(camera, "OnEnable");
        camera.Model = Fixture.Style();
        Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown);
        Fixture.Equal(Stub.World.Logs.Count, 0, "lines in the console");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void without_a_model_the_picture_passes_and_it_is_said_once()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var camera = Fixture.Camera(null);
        Stub.Reflect.Send(camera, "OnEnable");
        for (var frame = 0; frame < 5; frame++) Fixture.Frame(camera, source, shown);
        Fixture.IsSame(source, shown);
        Fixture.Equal(Stub.World.LogCount("no model is assigned"), 1, "complaints");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void a_wrong_model_is_reported_once_and_the_picture_passes()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var style = Fixture.Style();
        Stub.Reflect.Set(style, "inputName", "other");
        var camera = Fixture.Camera(style);
        Stub.Reflect.Send(camera, "OnEnable");
        for (var frame = 0; frame < 5; frame++) Fixture.Frame(camera, source, shown);
        Fixture.IsSame(source, shown);
        Fixture.Equal(Stub.World.LogCount("the network's input is called 'input' instead of 'other'"), 1, "errors");
        Fixture.Equal(Stub.World.Logs.Count, 1, "lines in the console");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void a_network_that_fails_is_switched_off_until_enabled_again()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var camera = Fixture.Camera(Fixture.Style());
        Stub.Reflect.Send(camera, "OnEnable");
        Stub.Networks.Broken = true;
        Fixture.Frame(camera, source, shown);
        Fixture.IsSame(source, shown, "the frame that failed");
        for (var frame = 0; frame < 5; frame++) Fixture.Frame(camera, source, shown);
        Fixture.IsSame(source, shown);
        Fixture.Equal(Stub.World.LogCount("'Candy' failed"), 1, "errors");
        Fixture.Equal(Stub.Live.Count("Worker"), 0, "workers");
        Stub.Networks.Broken = false;
        Stub.Reflect.Send(camera, "OnDisable");
        Stub.Reflect.Send(camera, "OnEnable");
        Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown);
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void a_fallback_is_said_once()
    {
        if (Array.IndexOf(EngineRig.Workers, StyleTransferWorker.CSharpBurst) < 0 || !RunsOnGpu) return;
        SystemInfo.supportsComputeShaders = false;
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var camera = Fixture.Camera(Fixture.Style());
        Stub.Reflect.Send(camera, "OnEnable");
        for (var frame = 0; frame < 5; frame++) Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown);
        Fixture.Equal(Stub.World.LogCount("Compute shaders cannot be used"), 1, "complaints");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void the_inspector_keeps_values_in_range()
    {
        var camera = Fixture.Camera(null);
        Stub.Reflect.Set(camera, "targetHeight", -5);
        Stub.Reflect.Set(camera, "strength", 7f);
        Stub.Reflect.Set(camera, "spreadFrames", 99);
        Stub.Reflect.Set(camera, "runEveryFrames", 0);
        Stub.Reflect.Set(camera, "budgetMilliseconds", 999f);
        Stub.Reflect.Set(camera, "targetFrameRate", -1);
        Stub.Reflect.Set(camera, "minimumHeight", 0);
        Stub.Reflect.Send(camera, "OnValidate");
        Fixture.Equal(camera.RunEveryFrames, 1, "every frames");
        Fixture.Equal(camera.BudgetMilliseconds, 33f, "budget");
        Fixture.Equal(camera.TargetFrameRate, 0, "frame rate");
        Fixture.Equal(camera.MinimumHeight, WorkingSize.SmallestExtent, "fewest lines");
        Fixture.Equal(camera.TargetHeight, WorkingSize.SmallestExtent, "lines");
        Fixture.Equal(camera.Strength, 1f, "strength");
        Fixture.Equal(camera.SpreadFrames, 16, "frames");
    }

    public static void the_generated_component_starts_at_its_nominal_height()
    {
        var assembly = Assembly.Load("StyleTransfer.Models");
        var camera = (StyleTransferCamera)Activator.CreateInstance(assembly.GetType("StyleTransfer.CandyStyleTransfer"));
        camera.TargetHeight = 100;
        Stub.Reflect.Send(camera, "Reset");
        Fixture.Equal(camera.TargetHeight, 540, "lines");
    }

    static string Rows(GuideLayout layout, int texture)
    {
        var text = "";
        for (var row = 0; row < 4; row++)
            for (var column = 0; column < 8; column++)
            {
                var rows = column < 4 ? layout.SceneRows(texture) : layout.OtherRows(texture);
                if (rows[row, column % 4] != 0) text += row.ToString() + column.ToString() + " ";
            }
        return text.TrimEnd();
    }

    // Columns: 0 to 2 the normal, 3 depth, 4 the mask, 5 to 7 the texture.
    public static void each_guide_has_its_channels()
    {
        var layout = new GuideLayout(new[] { "normals", "depth", "mask" });
        Fixture.Equal(layout.TextureCount, 2, "textures");
        Fixture.Equal(layout.ChannelCount, 5, "channels");
        Fixture.Equal(Rows(layout, 0), "00 11 22 33", "normals and depth");
        Fixture.Equal(Rows(layout, 1), "04 14 24", "a single channel fills red, green and blue");
        layout = new GuideLayout(new[] { "depth", "mask", "texture" });
        Fixture.Equal(Rows(layout, 0), "03 14", "two guides of one channel");
        Fixture.Equal(Rows(layout, 1), "05 16 27", "a texture");
        Fixture.Equal(Rows(new GuideLayout(new[] { "depth", "normals" }), 0), "03 10 21 32", "the order of the model");
        try
        {
            new GuideLayout(new[] { "smell" });
        }
        catch (InvalidOperationException exception)
        {
            Fixture.Contains(exception.Message, "'smell' is not known");
            return;
        }
        throw new Exception("an unknown guide was taken");
    }

    public static void the_inputs_of_guides_are_compared()
    {
        var style = Fixture.Style();
        Stub.Reflect.Set(style, "guides", new[] { "depth", "normals" });
        Stub.Reflect.Set(style, "guideInputs", new[] { "guides" });
        var told = Description();
        Mismatch(style, told, "the network has 1 inputs instead of 2");
        told.Inputs.Add("guides");
        Fixture.Equal(ModelContract.FindMismatch(style, told), null, "a matching pair");
        told.Inputs[1] = "elsewhere";
        Mismatch(style, told, "input for guides is called 'elsewhere'");

        style = Fixture.Style();
        Stub.Reflect.Set(style, "guides", new[] { "depth", "mask", "normals" });
        Stub.Reflect.Set(style, "guideInputs", new[] { "guides" });
        told.Inputs[1] = "guides";
        Mismatch(style, told, "1 inputs for guides that take 2 textures");
    }

    static NetworkDescription Description()
    {
        var told = new NetworkDescription { Channels = 3 };
        told.Inputs.Add("input");
        told.Outputs.Add("output");
        return told;
    }

    public static void each_disagreement_with_the_network_is_named()
    {
        var style = Fixture.Style();
        var told = Description();
        Fixture.Equal(ModelContract.FindMismatch(style, told), null, "a matching pair");
        told.Channels = NetworkDescription.Unknown;
        Fixture.Equal(ModelContract.FindMismatch(style, told), null, "unknown channels");

        Stub.Reflect.Set(style, "inputChannels", 1);
        Mismatch(style, Description(), "the network has 3 input channels instead of 1");

        Stub.Reflect.Set(style, "inputChannels", 4);
        Mismatch(style, Description(), "declares 4 input channels");

        style = Fixture.Style();
        Stub.Reflect.Set(style, "outputName", "elsewhere");
        Mismatch(style, Description(), "no output called 'elsewhere'");

        style = Fixture.Style();
        Stub.Reflect.Set(style, "fixedSize", true);
        told = Description();
        Fixture.Equal(ModelContract.FindMismatch(style, told), null, "unknown sizes");
        told.Width = 640;
        told.Height = 480;
        Mismatch(style, told, "runs only at 640x480, not at 32x16");

        told.Inputs.Add("style");
        Mismatch(style, told, "2 inputs");
    }

    public static void metadata_of_another_build_is_named_where_it_is_kept()
    {
        const string contract = "{\"input\": {\"channels\": 3, \"range\": \"0..1\"}, \"output\": {\"range\": \"0..1\"}}";
        var style = Fixture.Style();
        var told = Description();
        told.Metadata = new Dictionary<string, string> { { "source_digest", "d1g35t" }, { "image_contract", contract } };
        Fixture.Equal(ModelContract.FindMismatch(style, told), null, "a matching pair");

        Stub.Reflect.Set(style, "sourceDigest", "other");
        Mismatch(style, told, "d1g35t instead of other");

        told.Metadata["image_contract"] = "{\"input\": {\"range\": \"0..255\"}}";
        Mismatch(style, told, "keeps the value ranges of its source");

        told.Metadata.Remove("image_contract");
        Mismatch(style, told, "no image contract");
    }

    static void Mismatch(StyleTransferModel style, NetworkDescription told, string part)
    {
        var message = ModelContract.FindMismatch(style, told);
        Fixture.Contains(message, part);
        Fixture.Contains(message, "pipeline build-unity");
    }

    sealed class ForeignAsset : ScriptableObject {}

    public static void a_style_that_no_engine_runs_says_what_to_do()
    {
        var style = Fixture.Style();
        Stub.Reflect.Set(style, "model", ScriptableObject.CreateInstance<ForeignAsset>());
        Stub.Reflect.Set(style, "target", "other-9");
        Refused(style, "was built for other-9, but this project has " + StyleTransferEngines.Installed.Name);
        Refused(style, "--target " + StyleTransferEngines.Installed.Target);
        Fixture.Engines.Clear();
        Refused(style, "no package that runs it. Choose Style Transfer > Install Package");
    }

    public static void an_engine_that_registers_again_is_there_once()
    {
        EngineRig.Register();
        Fixture.Equal(StyleTransferEngines.All.Count, 1, "engines");
        Fixture.Equal(ReferenceEquals(StyleTransferEngines.Find(Fixture.Style()), StyleTransferEngines.Installed), true, "found");
    }

    static void Refused(StyleTransferModel style, string part)
    {
        try
        {
            new StyleTransferRunner(style).Dispose();
        }
        catch (InvalidOperationException exception)
        {
            Fixture.Contains(exception.Message, part);
            return;
        }
        throw new Exception("it ran");
    }

    public static void a_runner_that_cannot_be_made_leaves_nothing_behind()
    {
        var style = Fixture.Style();
        Stub.Reflect.Set(style, "model", null);
        Fails(style, "has no network");
        style = Fixture.Style();
        Stub.Reflect.Set(style, "inputName", "other");
        Fails(style, "'other'");
        Stub.Networks.Impossible = true;
        Fails(Fixture.Style(), "no such layer");
    }

    static void Fails(StyleTransferModel style, string part)
    {
        try
        {
            new StyleTransferRunner(style, EngineRig.BestWorker).Dispose();
        }
        catch (InvalidOperationException exception)
        {
            Fixture.Contains(exception.Message, part);
            return;
        }
        throw new Exception("no exception");
    }

    public static void a_golden_frame_passes_when_the_network_inverts()
    {
        var style = Golden(0);
        var result = GoldenFrames.Check(style);
        Fixture.Equal(result.Passed, true, result.Message);
        Fixture.Near(result.WorstLevels, 0, 0.01f, "worst");
        Fixture.Contains(result.Message, "on " + EngineRig.ProofWorker + ",");
        FreeGolden(style);
    }

    public static void a_golden_frame_within_tolerance_and_rounding_passes_and_beyond_fails()
    {
        var style = Golden(1);
        var result = GoldenFrames.Check(style);
        Fixture.Near(result.WorstLevels, 1, 0.01f, "worst");
        Fixture.Equal(result.Passed, true, "one level off with tolerance 0.5 and half a level of rounding");
        Stub.Reflect.Set(style, "goldenTolerance", 0.4f);
        result = GoldenFrames.Check(style);
        Fixture.Equal(result.Passed, false, "one level off with tolerance 0.4");
        Fixture.Contains(result.Message, "FAILED");
        FreeGolden(style);
    }

    public static void a_golden_frame_upside_down_fails()
    {
        var style = Golden(0);
        var pixels = style.GoldenOutput.GetPixels32();
        Array.Reverse(pixels);
        style.GoldenOutput.SetPixels32(pixels);
        Fixture.Equal(GoldenFrames.Check(style).Passed, false, "passed");
        FreeGolden(style);
    }

    public static void a_golden_frame_that_cannot_run_fails_with_the_reason()
    {
        var style = Golden(0);
        Stub.Networks.Broken = true;
        Fixture.Contains(GoldenFrames.Check(style).Message, "broken network");
        Stub.Networks.Broken = false;
        style.GoldenInput.isReadable = false;
        Fixture.Contains(GoldenFrames.Check(style).Message, "Read/Write");
        Fixture.Contains(GoldenFrames.Check(Fixture.Style()).Message, "no golden pictures");
        Fixture.Contains(GoldenFrames.Check(null).Message, "could not be loaded");
        FreeGolden(style);
    }

    public static void batch_mode_exits_with_what_the_golden_frames_say()
    {
        GoldenFrames.CheckAll();
        Fixture.Equal(Stub.World.ExitCode, null, "exit outside batch mode");
        Application.isBatchMode = true;
        GoldenFrames.CheckAll();
        Fixture.Equal(Stub.World.ExitCode, 1, "exit without models");
        StyleTransferModel good = Golden(0), bad = Golden(9);
        Stub.Assets.All.Add(good);
        GoldenFrames.CheckAll();
        Fixture.Equal(Stub.World.ExitCode, 0, "exit with a good model");
        Stub.Assets.All.Add(bad);
        GoldenFrames.CheckAll();
        Fixture.Equal(Stub.World.ExitCode, 1, "exit with a good and a bad model");
        FreeGolden(good);
        FreeGolden(bad);
    }

    // A style with golden pictures, the output wrong by some levels in one pixel.
    static StyleTransferModel Golden(int levels)
    {
        var style = Fixture.Style();
        const int width = 20, height = 12;
        var input = new Texture2D(width, height, TextureFormat.RGBA32, false, true);
        var output = new Texture2D(width, height, TextureFormat.RGBA32, false, true);
        Color32[] before = new Color32[width * height], after = new Color32[width * height];
        for (var i = 0; i < before.Length; i++)
        {
            byte r = (byte)(i * 7 % 200 + 20), g = (byte)(i % 256), b = (byte)(i / width * 20);
            before[i] = new Color32(r, g, b, 255);
            after[i] = new Color32((byte)(255 - r), (byte)(255 - g), (byte)(255 - b), 255);
        }
        after[33].r = (byte)(after[33].r + levels);
        input.SetPixels32(before);
        output.SetPixels32(after);
        Stub.Reflect.Set(style, "goldenInput", input);
        Stub.Reflect.Set(style, "goldenOutput", output);
        return style;
    }

    static void FreeGolden(StyleTransferModel style)
    {
        UnityEngine.Object.DestroyImmediate(style.GoldenInput);
        UnityEngine.Object.DestroyImmediate(style.GoldenOutput);
    }

    // Whether the engine loads model files while the game runs; a compiled network needs its kernels beside it.
    static bool LoadsFiles => StyleTransferEngines.Installed.CanLoadFile(EngineRig.Target);

    // Whether the engine runs networks on the GPU too; some packages have only a CPU worker.
    static bool RunsOnGpu => Array.Exists
      (EngineRig.Workers, worker => worker != StyleTransferWorker.CSharpBurst && worker != StyleTransferWorker.CSharp);

    // A style whose file is packed; "seen" gets the bytes that the engine is to load.
    static StyleTransferModel Packed(Action<byte[]> seen, bool damaged = false)
    {
        var style = Fixture.Style();
        EngineRig.ImportFiles(style.Model, seen);
        var packed = Pack(s_File);
        if (damaged) packed[packed.Length - 1]++;
        Stub.Reflect.Set(style, "model", null);
        Stub.Reflect.Set(style, "packed", new TextAsset(packed));
        return style;
    }

    static readonly byte[] s_File = { 8, 3, 111, 110, 110, 120 };

    static void IsTheFile(byte[] file) => Fixture.Equal(Convert.ToBase64String(file), Convert.ToBase64String(s_File), "file");

    const uint StateBytes = 8;

    // A packed model without holes: docs/packed-format.md.
    static byte[] Pack(byte[] model)
    {
        var head = new byte[1 + model.Length];
        model.CopyTo(head, 1);
        var body = new MemoryStream();
        using (var stream = new DeflateStream(body, CompressionMode.Compress, true)) stream.Write(head, 0, head.Length);

        // The coder's state after no integer at all: 1 << 31.
        body.Write(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0x80 }, 0, (int)StateBytes);

        var packed = new MemoryStream();
        var writer = new BinaryWriter(packed);
        writer.Write(new[] { 'S', 'T', 'P', 'K' });
        foreach (var number in new[] { 1u, (uint)model.Length, Crc(model, 0), (uint)head.Length, (uint)body.Length - StateBytes,
                                       StateBytes, 0u })
            writer.Write(number);
        writer.Write(Crc(body.ToArray(), Crc(packed.ToArray(), 0)));
        writer.Write(body.ToArray());
        return packed.ToArray();
    }

    static uint Crc(byte[] data, uint crc)
    {
        crc = ~crc;
        foreach (var value in data)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? 0xEDB88320 ^ crc >> 1 : crc >> 1;
        }
        return ~crc;
    }

    // Keeps all threads of the pool busy, so that nothing is rebuilt until it is disposed.
    sealed class BusyThreads : IDisposable
    {
        const int MoreThanThePoolHas = 64;

        readonly ManualResetEvent m_MayGoOn = new ManualResetEvent(false);

        public BusyThreads()
        {
            for (var i = 0; i < MoreThanThePoolHas; i++) ThreadPool.QueueUserWorkItem(_ => m_MayGoOn.WaitOne());
        }

        public void Dispose() => m_MayGoOn.Set();
    }

    // Until the other thread has ended; fails after ten seconds.
    static void Await(Func<bool> condition)
    {
        for (var i = 0; i < 1000 && !condition(); i++) Thread.Sleep(10);
        if (!condition()) throw new Exception("it never became ready: " + string.Join(", ", Stub.World.Logs));
    }

    public static void a_packed_network_is_rebuilt_while_the_camera_shows_its_own_picture()
    {
        if (!LoadsFiles) return;
        var loads = 0;
        var camera = Fixture.Camera(Packed(file => { IsTheFile(file); loads++; }));
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        using (new BusyThreads())
        {
            Stub.Reflect.Send(camera, "OnEnable");
            for (var frame = 0; frame < 3; frame++)
            {
                Fixture.Frame(camera, source, shown);
                Fixture.IsSame(source, shown, "while it loads");
            }
            Fixture.Equal(loads, 0, "loads while it is rebuilt");
        }
        Await(() =>
        {
            Fixture.Frame(camera, source, shown);
            return camera.Runner != null;
        });
        Fixture.IsInverted(source, shown);
        Fixture.Equal(loads, 1, "loads");
        Fixture.Equal(Stub.World.Logs.Count, 0, "messages");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void disabling_a_camera_forgets_a_load_under_way()
    {
        if (!LoadsFiles) return;
        var loads = 0;
        var camera = Fixture.Camera(Packed(file => loads++));
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        using (new BusyThreads())
        {
            Stub.Reflect.Send(camera, "OnEnable");
            Fixture.Frame(camera, source, shown);
            Stub.Reflect.Send(camera, "OnDisable");
        }
        Fixture.Equal(camera.Runner, null, "runner");
        Stub.Reflect.Send(camera, "OnEnable");
        Await(() =>
        {
            Fixture.Frame(camera, source, shown);
            return camera.Runner != null;
        });
        Fixture.Equal(loads, 1, "loads");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void a_runner_waits_for_a_packed_network()
    {
        if (!LoadsFiles) return;
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        using (var runner = new StyleTransferRunner(Packed(IsTheFile), StyleTransferWorker.CSharpBurst))
            runner.Stylize(source, shown, 1);
        Fixture.IsInverted(source, shown);
        Fixture.Free(source, shown);
    }

    public static void a_damaged_packed_network_is_named_once_and_the_picture_passes()
    {
        if (!LoadsFiles) return;
        var camera = Fixture.Camera(Packed(IsTheFile, true));
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        Stub.Reflect.Send(camera, "OnEnable");
        Await(() =>
        {
            Fixture.Frame(camera, source, shown);
            return Stub.World.Logs.Count > 0;
        });
        Fixture.Frame(camera, source, shown);
        Fixture.IsSame(source, shown);
        Fixture.Equal(Stub.World.LogCount("error Style transfer model 'Candy': the packed model is damaged"), 1, "errors");
        Fixture.Equal(Stub.World.Logs.Count, 1, "messages");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void the_golden_frame_of_a_packed_network_is_checked()
    {
        if (!LoadsFiles) return;
        var style = Golden(0);
        EngineRig.ImportFiles(style.Model, IsTheFile);
        Stub.Reflect.Set(style, "model", null);
        Stub.Reflect.Set(style, "packed", new TextAsset(Pack(s_File)));
        Fixture.Equal(GoldenFrames.Check(style).Passed, true, "passed");
        FreeGolden(style);
    }
}
