// More cases: the component over time, in the built-in pipeline and as URP and HDRP use it.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Reflection;
using StyleTransfer;
using UnityEngine;
using UnityEngine.Rendering;

[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("PipelineCases")]

// A background that slides to the right, and a square before it that slides to the left, with motion and depth.
sealed class MovingScene : IDisposable
{
    public const int Width = 48;
    public const int Height = 32;

    const int BackgroundStep = 1;
    const int SquareStep = -2;
    const int SquareSize = 10;
    const float BackgroundDistance = 20;
    const float SquareDistance = 4;

    public readonly RenderTexture Picture = Fixture.Canvas(Width, Height);
    readonly RenderTexture m_Motion = Fixture.Canvas(Width, Height);
    readonly RenderTexture m_Depth = Fixture.Canvas(Width, Height);
    readonly bool m_Square;

    public MovingScene(bool square)
    {
        m_Square = square;
        m_Motion.filterMode = m_Depth.filterMode = FilterMode.Point;
        Shader.globals["_CameraMotionVectorsTexture"] = m_Motion;
        Shader.globals["_MotionVectorTexture"] = m_Motion;
        Shader.globals["_CameraDepthTexture"] = m_Depth;
    }

    public static int SquareLeft(int frame) => 32 + SquareStep * frame;

    public bool IsSquare(int frame, int x, int y)
    {
        var left = SquareLeft(frame);
        return m_Square && x >= left && x < left + SquareSize && y >= 10 && y < 10 + SquareSize;
    }

    // Background that the square hid when the picture of an earlier frame was taken, or that was outside of it.
    public bool IsNew(int frame, int taken, int x, int y)
    {
        if (IsSquare(frame, x, y)) return false;
        var before = x - BackgroundStep * (frame - taken);
        return before < 0 || IsSquare(taken, before, y);
    }

    public void Show(int frame, bool still = false)
    {
        for (var y = 0; y < Height; y++)
        {
            for (var x = 0; x < Width; x++)
            {
                var i = 4 * (y * Width + x);
                var square = IsSquare(frame, x, y);
                var u = x - (square ? SquareStep : BackgroundStep) * frame;
                Picture.texels[i] = square ? 0.9f : 0.3f + 0.1f * (float)Math.Sin(u * 0.2);
                Picture.texels[i + 1] = square ? 0.5f + 0.3f * (float)Math.Sin(u + y) : 0.4f;
                Picture.texels[i + 2] = square ? 0.2f : 0.5f + 0.1f * (float)Math.Cos(y * 0.3);
                Picture.texels[i + 3] = 1;
                m_Motion.texels[i] = still ? 0 : (square ? SquareStep : BackgroundStep) / (float)Width;
                m_Motion.texels[i + 1] = 0;
                m_Depth.texels[i] = Raw(square ? SquareDistance : BackgroundDistance);
            }
        }
    }

    // Reversed: 1 at the near plane of 0.3, 0 at the far one of 1000.
    static float Raw(float distance) => 0.3f * (1000 - distance) / (distance * (1000 - 0.3f));

    // The mean difference between what is shown and the inverted picture, over pixels that satisfy a condition.
    public float Error(RenderTexture shown, Func<int, int, bool> counts) => Error(shown, 1, counts);

    // The same at a strength.
    public float Error(RenderTexture shown, float strength, Func<int, int, bool> counts)
    {
        double sum = 0;
        var count = 0;
        for (var y = 0; y < Height; y++)
        {
            for (var x = 0; x < Width; x++)
            {
                if (!counts(x, y)) continue;
                var i = 4 * (y * Width + x);
                for (var c = 0; c < 3; c++)
                    sum += Math.Abs(shown.texels[i + c] - Picture.texels[i + c] - strength * (1 - 2 * Picture.texels[i + c]));
                count += 3;
            }
        }
        if (count == 0) throw new Exception("no such pixels");
        return (float)(sum / count);
    }

    public void Dispose() => Fixture.Free(Picture, m_Motion, m_Depth);
}

public static partial class Cases
{
    static StyleTransferCamera SceneCamera()
    {
        var camera = Fixture.Camera(Fixture.Style());
        camera.TargetHeight = MovingScene.Height;
        return camera;
    }

    public static void between_runs_the_picture_moves_with_the_scene()
    {
        using (var scene = new MovingScene(true))
        {
            var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            var camera = SceneCamera();
            camera.RunEveryFrames = 4;
            Stub.Reflect.Send(camera, "OnEnable");
            for (var frame = 0; frame < 10; frame++)
            {
                scene.Show(frame);
                Fixture.Frame(camera, scene.Picture, shown);
                var taken = frame / 4 * 4;
                Fixture.Equal(Stub.Networks.Executions, frame / 4 + 1, "runs");
                var known = scene.Error(shown, (x, y) => !scene.IsNew(frame, taken, x, y));
                Fixture.Near(known, 0, 0.001f, "frame " + frame + ", pixels of the network's picture");
                if (frame == taken) continue;
                var uncovered = scene.Error(shown, (x, y) => scene.IsNew(frame, taken, x, y));
                Fixture.Near(uncovered, 0, 0.04f, "frame " + frame + ", pixels that it does not show");
            }

            // Without, the picture stays where it was.
            camera.Reproject = false;
            scene.Show(10);
            Fixture.Frame(camera, scene.Picture, shown);
            var still = scene.Error(shown, (x, y) => scene.IsSquare(10, x, y) != scene.IsSquare(8, x, y));
            if (still < 0.2f) throw new Exception("the picture moved: " + still);
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Free(shown);
        }
    }

    // The made-up networks invert: a mask of one channel is what is missing to white of the mean of red, green, blue.
    static void IsMasked(RenderTexture source, RenderTexture shown, bool inverted, string what)
    {
        for (var i = 0; i < source.texels.Length; i += 4)
        {
            var mask = 1 - (source.texels[i] + source.texels[i + 1] + source.texels[i + 2]) / 3;
            if (inverted) mask = 1 - mask;
            for (var c = 0; c < 3; c++)
            {
                var own = source.texels[i + c];
                Fixture.Near(shown.texels[i + c], own + (1 - 2 * own) * mask, 0.006f, what + " texel " + i / 4);
            }
        }
    }

    public static void a_mask_network_says_where_the_style_is_shown()
    {
        var source = Fixture.Picture();
        var shown = Fixture.Canvas();
        var camera = Fixture.Camera(Fixture.Style());
        var mask = Fixture.Style(1);
        camera.Reproject = false;
        camera.MaskModel = mask;
        Stub.Reflect.Send(camera, "OnEnable");
        Fixture.Frame(camera, source, shown);
        IsMasked(source, shown, false, "mask");
        Fixture.Equal(Stub.Networks.Executions, 2, "runs of a frame");
        Fixture.Equal(camera.LoadedStyles, 2, "networks");

        camera.InvertMask = true;
        Fixture.Paint(source, 3);
        Fixture.Frame(camera, source, shown);
        IsMasked(source, shown, true, "inverted");

        // Both networks see the frame that the run began with, and the style's waits for the mask's.
        camera.SpreadFrames = 2;
        for (var frame = 0; frame < 8; frame++)
        {
            Fixture.Paint(source, 4 + frame);
            Fixture.Frame(camera, source, shown);
        }
        Fixture.Equal(Stub.Networks.Executions, 4 + 4, "runs that are spread over two frames each");

        camera.SpreadFrames = 1;
        camera.InvertMask = false;
        camera.MaskModel = null;
        for (var frame = 0; frame < 5; frame++) Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown, 1, "without a mask");
        Fixture.Equal(camera.LoadedStyles, 1, "the mask's network is freed");

        // The picture and its mask outlive a change of the working size.
        camera.MaskModel = mask;
        Fixture.Frame(camera, source, shown);
        camera.TargetHeight = Fixture.Height / 2;
        Fixture.Frame(camera, source, shown);
        camera.TargetHeight = Fixture.Height;
        Fixture.Frame(camera, source, shown);
        IsMasked(source, shown, false, "back at the first size");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void a_mask_network_that_fails_leaves_the_style_everywhere()
    {
        var source = Fixture.Picture();
        var shown = Fixture.Canvas();
        var camera = Fixture.Camera(Fixture.Style());
        camera.Reproject = false;
        Stub.Reflect.Send(camera, "OnEnable");
        Fixture.Frame(camera, source, shown);
        camera.MaskModel = ScriptableObject.CreateInstance<StyleTransferModel>();
        for (var frame = 0; frame < 3; frame++) Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown, 1, "a mask without a network");
        Fixture.Equal(Stub.World.Logs.Count, 1, "messages");
        Fixture.Contains(Stub.World.Logs[0], "has no network");

        camera.MaskModel = Fixture.Style(1);
        Stub.Networks.Broken = true;
        Fixture.Frame(camera, source, shown);
        Fixture.Contains(Stub.World.Logs[1], "failed and is switched off");
        Stub.Networks.Broken = false;
        for (var frame = 0; frame < 3; frame++) Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown, 1, "the mask alone is switched off");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    static StyleTransferModel SeveralStyles()
    {
        var style = Fixture.Style();
        EngineRig.GiveStyles(style, 3);
        Stub.Reflect.Set(style, "styleInput", "style_weights");
        Stub.Reflect.Set(style, "styleNames", new[] { "inverse", "itself", "black" });
        return style;
    }

    public static void styles_of_one_network_are_chosen_and_blended_without_a_stop()
    {
        if (!EngineRig.StubsHaveStyles) return;

        var source = Fixture.Picture();
        var shown = Fixture.Canvas();
        var camera = Fixture.Camera(SeveralStyles());
        camera.Reproject = false;
        Stub.Reflect.Send(camera, "OnEnable");
        Action<float, float, string> expect = (inverse, itself, what) =>
        {
            Fixture.Frame(camera, source, shown);
            for (var i = 0; i < source.texels.Length; i++)
                if (i % 4 != 3)
                    Fixture.Near(shown.texels[i], inverse * (1 - source.texels[i]) + itself * source.texels[i], 0.004f,
                      what + " texel " + i / 4);
        };
        expect(1, 0, "the first");
        camera.StyleNumber = 1;
        expect(0, 1, "the second");
        camera.SecondStyle = 2;
        camera.StyleBlend = 0.25f;
        expect(0, 0.75f, "with a quarter of black");
        camera.StyleNumber = 99;
        expect(0, 0, "beyond the last is the last");
        camera.SetStyleOverride(new StyleMix(0, 1, 0.5f));
        expect(0.5f, 0.5f, "a volume's");
        camera.SetStyleOverride(StyleTransferSettings.NoMix);
        camera.StyleNumber = -3;
        Fixture.Equal(camera.StyleNumber, 0, "in range");
        camera.StyleBlend = 7;
        Fixture.Equal(camera.StyleBlend, 1f, "in range");
        expect(0, 0, "the second alone");
        Fixture.Equal(Stub.Networks.Executions, 6, "a run in each frame");
        Fixture.Equal(camera.LoadedStyles, 1, "networks");

        // A run that is spread over frames keeps the style that it began with.
        camera.StyleBlend = 0;
        camera.SpreadFrames = 3;
        Fixture.Frame(camera, source, shown);
        var began = Stub.Networks.Styles;
        camera.StyleNumber = 1;
        Fixture.Frame(camera, source, shown);
        Fixture.Equal(Stub.Networks.Styles, began, "the style of the run under way");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    // A style is three numbers, the shares of what Stub.Networks.Answer does, and a predictor takes them of a picture.
    static StyleTransferModel LiveStyles(int predictorSize = 8)
    {
        var style = SeveralStyles();
        var predictor = Fixture.Style();
        EngineRig.LetItPredict(predictor);
        Stub.Reflect.Set(predictor, "isPredictor", true);
        Stub.Reflect.Set(predictor, "fixedSize", true);
        Stub.Reflect.Set(predictor, "nominalWidth", predictorSize);
        Stub.Reflect.Set(predictor, "nominalHeight", predictorSize);
        var numbers = new float[] { 1, 0, 0, 0, 1, 0, 0, 0, 1 };
        var bytes = new byte[numbers.Length * sizeof(float)];
        Buffer.BlockCopy(numbers, 0, bytes, 0, bytes.Length);
        Stub.Reflect.Set(style, "styleVectors", new TextAsset(bytes));
        Stub.Reflect.Set(style, "predictor", predictor);
        return style;
    }

    static RenderTexture Plain(float red, float green, int width = 40, int height = 20)
    {
        var picture = Fixture.Canvas(width, height);
        for (var i = 0; i < width * height; i++)
        {
            picture.texels[4 * i] = red;
            picture.texels[4 * i + 1] = green;
            picture.texels[4 * i + 2] = 0;
            picture.texels[4 * i + 3] = 1;
        }
        return picture;
    }

    static void Shows(RenderTexture source, RenderTexture shown, float inverse, float itself, string what)
    {
        for (var i = 0; i < source.texels.Length; i++)
            if (i % 4 != 3)
                Fixture.Near(shown.texels[i], inverse * (1 - source.texels[i]) + itself * source.texels[i], 0.006f,
                  what + " texel " + i / 4);
    }

    public static void a_picture_is_a_style_once_the_predictor_has_seen_it()
    {
        if (!EngineRig.StubsHaveStyles) return;

        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        RenderTexture green = Plain(0, 1), red = Plain(1, 0, 200, 100), half = Plain(0.5f, 0.5f);
        var camera = Fixture.Camera(LiveStyles());
        camera.Reproject = false;
        Stub.Reflect.Send(camera, "OnEnable");
        Stub.World.ReadbackFrames = 2;
        Fixture.Frame(camera, source, shown);
        Shows(source, shown, 1, 0, "the asset's first");
        camera.StyleNumber = 1;
        Fixture.Frame(camera, source, shown);
        Shows(source, shown, 0, 1, "the asset's second");
        Fixture.Equal(Stub.Networks.Predictions, 0, "nothing to predict");

        Action<float, float, string> turn = (inverse, itself, what) =>
        {
            for (var frame = 0; frame < 14; frame++)
            {
                Stub.World.Frame++;
                Fixture.Frame(camera, source, shown);
            }
            Shows(source, shown, inverse, itself, what);
        };
        camera.StylePicture = red;
        Stub.World.Frame++;
        Fixture.Frame(camera, source, shown);
        Shows(source, shown, 0, 1, "the style before, until the predictor is through");
        turn(1, 0, "a red picture");
        Fixture.Equal(Stub.Networks.Predictions, 1, "pictures seen");
        Fixture.Equal(Stub.World.GpuWaits, 0, "waits");
        camera.SecondStylePicture = green;
        camera.StyleBlend = 0.25f;
        turn(0.75f, 0.25f, "with a quarter of green");
        camera.StylePicture = green;
        camera.SecondStylePicture = red;
        Stub.World.Frame++;
        Fixture.Frame(camera, source, shown);
        Shows(source, shown, 0.25f, 0.75f, "both are known, at once");
        Fixture.Equal(Stub.Networks.Predictions, 2, "pictures seen");
        camera.SetStyleOverride(new StyleMix(-1, 0, 0) { Picture = half });
        turn(0.5f, 0.5f, "a volume's");
        camera.SetStyleOverride(StyleTransferSettings.NoMix);
        camera.StylePicture = camera.SecondStylePicture = null;
        camera.StyleBlend = 0;
        turn(0, 1, "the asset's second again");

        // The texels of a render texture change without its saying so.
        camera.StylePicture = half;
        Array.Copy(green.texels, half.texels, half.texels.Length);
        turn(0.5f, 0.5f, "as it was seen");
        camera.Runner.RefreshStyle(half);
        turn(0, 1, "as it is");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
        Fixture.Free(green, red);
        half.Release();
        UnityEngine.Object.DestroyImmediate(half);
    }

    public static void a_runner_waits_for_the_predictor_and_two_new_pictures_come_one_after_the_other()
    {
        if (!EngineRig.StubsHaveStyles) return;

        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas(), green = Plain(0, 1), red = Plain(1, 0);
        using (var runner = new StyleTransferRunner(LiveStyles()))
        {
            runner.Style = new StyleMix(0, 0, 0.5f) { Picture = green, SecondPicture = red };
            Fixture.Equal(runner.HasStyle, false, "before the first picture");
            runner.Stylize(source, shown, 1);
            Shows(source, shown, 0.5f, 0.5f, "both were seen, and waited for");
            Fixture.Equal(Stub.Networks.Predictions, 2, "pictures seen");

            Stub.World.ReadbackFrames = 1;
            runner.Waits = false;
            runner.Style = new StyleMix(0, 2, 1);
            runner.Stylize(source, shown, 1);
            runner.Style = new StyleMix(1, 0, 0) { SecondPicture = green };
            Fixture.Equal(runner.HasStyle, true, "a picture that is not blended in is not needed");
        }
        Fixture.Free(source, shown);
        Fixture.Free(green, red);
    }

    public static void a_vector_is_a_style_of_a_network_that_takes_vectors()
    {
        if (!EngineRig.StubsHaveStyles) return;

        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas(), red = Plain(1, 0);
        var camera = Fixture.Camera(LiveStyles(1));
        camera.Reproject = false;
        Stub.Reflect.Send(camera, "OnEnable");
        camera.StyleVector = new[] { 0.25f, 0.5f, 0 };
        Fixture.Frame(camera, source, shown);
        Shows(source, shown, 0.25f, 0.5f, "a vector");
        camera.StyleVector[0] = 0.75f;
        Fixture.Frame(camera, source, shown);
        Shows(source, shown, 0.75f, 0.5f, "the same array with another number");
        Fixture.Frame(camera, source, shown);
        Fixture.Equal(Stub.Networks.Predictions, 2, "only what changed");
        camera.SecondStyleVector = new float[] { 0, 1, 0 };
        camera.StyleBlend = 1;
        Fixture.Frame(camera, source, shown);
        Shows(source, shown, 0, 1, "the second");
        camera.StyleBlend = 0;
        camera.StyleVector = null;
        camera.StylePicture = red;
        Fixture.Frame(camera, source, shown);
        Fixture.Equal(Stub.World.LogCount("takes vectors as styles, not pictures"), 1, "errors");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
        red.Release();
        UnityEngine.Object.DestroyImmediate(red);
    }

    public static void golden_frames_of_pictures_as_styles_run_the_predictor()
    {
        if (!EngineRig.StubsHaveStyles) return;

        var style = LiveStyles();
        Func<byte, byte, byte, Texture2D> plain = (red, green, blue) =>
        {
            var made = new Texture2D(8, 8, TextureFormat.RGBA32, false, true);
            var pixels = new Color32[64];
            for (var i = 0; i < pixels.Length; i++) pixels[i] = new Color32(red, green, blue, 255);
            made.SetPixels32(pixels);
            return made;
        };
        Texture2D picture = plain(51, 102, 0), inverse = plain(204, 153, 255), black = plain(0, 0, 0);
        Texture2D first = plain(255, 0, 0), second = plain(0, 255, 0), third = plain(0, 0, 255);
        Stub.Reflect.Set(style, "goldenInput", picture);
        Stub.Reflect.Set(style, "goldenOutput", inverse);
        Stub.Reflect.Set(style, "styleGoldenOutputs", new[] { inverse, picture, black });
        Stub.Reflect.Set(style, "stylePictures", new[] { first, second, third });
        var result = StyleTransfer.Editor.GoldenFrames.Check(style);
        if (!result.Passed) throw new Exception(result.Message);
        Fixture.Equal(Stub.Networks.Predictions, 3, "pictures of styles");

        Stub.Reflect.Set(style, "stylePictures", new[] { first, second, second });
        Fixture.Contains(StyleTransfer.Editor.GoldenFrames.Check(style).Message, "with black");
        Stub.Reflect.Set(style, "stylePictures", new Texture2D[0]);
        result = StyleTransfer.Editor.GoldenFrames.Check(style);
        if (!result.Passed) throw new Exception(result.Message);
        foreach (var texture in new[] { picture, inverse, black, first, second, third })
            UnityEngine.Object.DestroyImmediate(texture);
    }

    public static void golden_frames_are_checked_with_each_style()
    {
        if (!EngineRig.StubsHaveStyles) return;

        var style = SeveralStyles();
        var golden = new Texture2D(Fixture.Width, Fixture.Height, TextureFormat.RGBA32, false, true);
        var inverse = new Texture2D(Fixture.Width, Fixture.Height, TextureFormat.RGBA32, false, true);
        var black = new Texture2D(Fixture.Width, Fixture.Height, TextureFormat.RGBA32, false, true);
        var pixels = new Color32[Fixture.Width * Fixture.Height];
        var inverted = new Color32[pixels.Length];
        for (var i = 0; i < pixels.Length; i++)
        {
            pixels[i] = new Color32((byte)(i * 7), (byte)(i * 13), (byte)i, 255);
            inverted[i] = new Color32((byte)(255 - pixels[i].r), (byte)(255 - pixels[i].g), (byte)(255 - pixels[i].b), 255);
        }
        golden.SetPixels32(pixels);
        inverse.SetPixels32(inverted);
        black.SetPixels32(new Color32[pixels.Length]);
        Stub.Reflect.Set(style, "goldenInput", golden);
        Stub.Reflect.Set(style, "goldenOutput", inverse);
        Stub.Reflect.Set(style, "styleGoldenOutputs", new[] { inverse, golden, black });
        var result = StyleTransfer.Editor.GoldenFrames.Check(style);
        if (!result.Passed) throw new Exception(result.Message);

        Stub.Reflect.Set(style, "styleGoldenOutputs", new[] { inverse, golden, golden });
        result = StyleTransfer.Editor.GoldenFrames.Check(style);
        Fixture.Equal(result.Passed, false, "a wrong third style");
        Fixture.Contains(result.Message, "with black");

        Stub.Reflect.Set(style, "styleGoldenOutputs", new[] { inverse, golden, null });
        Fixture.Contains(StyleTransfer.Editor.GoldenFrames.Check(style).Message, "no golden picture of its style black");
        foreach (var texture in new[] { golden, inverse, black }) UnityEngine.Object.DestroyImmediate(texture);
    }

    public static void a_network_without_the_styles_of_its_asset_is_named()
    {
        if (!EngineRig.StubsHaveStyles) return;

        var style = Fixture.Style();
        Stub.Reflect.Set(style, "styleInput", "style_weights");
        Stub.Reflect.Set(style, "styleNames", new[] { "a", "b" });
        var camera = Fixture.Camera(style);
        Stub.Reflect.Send(camera, "OnEnable");
        var source = Fixture.Picture();
        var shown = Fixture.Canvas();
        Fixture.Frame(camera, source, shown);
        Fixture.Contains(Stub.World.Logs[0], "the network has 1 inputs instead of 2");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void own_colours_and_strength_are_of_style_camera_and_volume()
    {
        var source = Fixture.Picture();
        var shown = Fixture.Canvas();
        var style = Fixture.Style();
        var camera = Fixture.Camera(style);
        Stub.Reflect.Send(camera, "OnEnable");
        Action<float, float, string> expect = (strength, keep, what) =>
        {
            Fixture.Frame(camera, source, shown);
            for (var i = 0; i < source.texels.Length; i += 4)
            {
                float red = source.texels[i], green = source.texels[i + 1], blue = source.texels[i + 2];
                var luma = 0.299f * red + 0.587f * green + 0.114f * blue;
                for (var c = 0; c < 3; c++)
                {
                    var own = source.texels[i + c];
                    var kept = Math.Max(0, Math.Min(1, own + (1 - luma) - luma));
                    var wanted = own + (1 - own + (kept - (1 - own)) * keep - own) * strength;
                    Fixture.Near(shown.texels[i + c], wanted, 0.004f, what + " texel " + i / 4);
                }
            }
        };
        expect(1, 0, "defaults");
        camera.KeepColors = 0.5f;
        expect(1, 0.5f, "the camera's");
        Stub.Reflect.Set(style, "keepColors", 0.5f);
        Stub.Reflect.Set(style, "strength", 0.5f);
        expect(0.5f, 0.75f, "the style's too");
        camera.SetOverrides(0.5f, null, -1, 0.5f);
        expect(0.25f, 0.875f, "the volumes' too");
        camera.KeepColors = 7;
        Fixture.Equal(camera.KeepColors, 1f, "in range");
        Stub.Reflect.Send(camera, "OnDisable");

        var runner = new StyleTransferRunner(style);
        runner.Stylize(source, shown, 1);
        camera.SetOverrides(1, null, -1, 0);
        var byRunner = (float[])shown.texels.Clone();
        camera.KeepColors = 0;
        Stub.Reflect.Send(camera, "OnEnable");
        Fixture.Frame(camera, source, shown);
        for (var i = 0; i < byRunner.Length; i++) Fixture.Near(byRunner[i], shown.texels[i], 0.003f, "runner " + i);
        Stub.Reflect.Send(camera, "OnDisable");
        runner.Dispose();
        Fixture.Free(source, shown);
    }

    public static void a_run_that_is_spread_moves_with_the_scene_too()
    {
        using (var scene = new MovingScene(true))
        {
            var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            var camera = SceneCamera();
            camera.SpreadFrames = 3;
            Stub.Reflect.Send(camera, "OnEnable");
            for (var frame = 0; frame < 12; frame++)
            {
                scene.Show(frame);
                Fixture.Frame(camera, scene.Picture, shown);
                if (frame < 2) continue;
                // Taken in frame 0, finished in frame 2, shown until 4; and so on.
                var taken = (frame - 2) / 3 * 3;
                var known = scene.Error(shown, (x, y) => !scene.IsNew(frame, taken, x, y));
                Fixture.Near(known, 0, 0.001f, "frame " + frame);
            }
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Free(shown);
        }
    }

    public static void stability_calms_flicker_and_moves_with_the_scene()
    {
        const float flicker = 0.1f, stability = 0.8f;
        Stub.Networks.Flicker = flicker;
        using (var scene = new MovingScene(true))
        {
            var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            var camera = SceneCamera();
            camera.Stability = stability;
            Stub.Reflect.Send(camera, "OnEnable");

            // Something stands still, then everything moves on.
            for (var frame = 0; frame < 30; frame++)
            {
                scene.Show(0, true);
                Fixture.Frame(camera, scene.Picture, shown);
            }
            // An alternation passes through the running mean with this gain.
            var gain = (1 - stability) / (1 + stability);
            Fixture.Near(scene.Error(shown, (x, y) => true), flicker * gain, 0.002f, "flicker that is left");

            for (var frame = 1; frame < 8; frame++)
            {
                scene.Show(frame);
                Fixture.Frame(camera, scene.Picture, shown);
                var moving = scene.Error(shown, (x, y) => !scene.IsNew(frame, 0, x, y));
                Fixture.Near(moving, flicker * gain, 0.01f, "frame " + frame);
            }

            // A cut leaves nothing of before.
            Stub.Networks.Flicker = 0;
            scene.Show(14);
            camera.Cut();
            Fixture.Frame(camera, scene.Picture, shown);
            Fixture.Near(scene.Error(shown, (x, y) => true), 0, 0.001f, "after a cut");
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Free(shown);
        }
    }

    // Shown are frames that lie back, each one once, whole: no hole, no jump where the key pictures change.
    public static void between_key_pictures_each_frame_is_shown_late_and_whole()
    {
        const int every = 4;
        foreach (var spread in new[] { 1, 3 })
        {
            foreach (var strength in new[] { 1f, 0.25f })
            {
                using (var scene = new MovingScene(true))
                {
                    var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
                    var camera = SceneCamera();
                    camera.RunEveryFrames = every;
                    camera.SpreadFrames = spread;
                    camera.Strength = strength;
                    camera.Interpolate = true;
                    Stub.Reflect.Send(camera, "OnEnable");
                    var late = every + spread - 2;
                    for (var frame = 0; frame < 14; frame++)
                    {
                        scene.Show(frame);
                        Fixture.Frame(camera, scene.Picture, shown);
                        if (frame < spread - 1) continue;
                        var lies = Math.Max(0, frame - late);
                        Fixture.Equal(camera.FramesLate, frame - lies, "frames late in frame " + frame);
                        scene.Show(lies);
                        var background = scene.Error(shown, strength, (x, y) => !scene.IsSquare(lies, x, y));
                        var square = scene.Error(shown, strength, (x, y) => scene.IsSquare(lies, x, y));
                        Fixture.Near(background, 0, 0.01f, "frame " + frame + ", background");
                        Fixture.Near(square, 0, 0.01f, "frame " + frame + ", square");
                    }

                    // A cut shows what is there at once.
                    camera.Cut();
                    scene.Show(15);
                    for (var frame = 0; frame < spread; frame++) Fixture.Frame(camera, scene.Picture, shown);
                    Fixture.Near(scene.Error(shown, strength, (x, y) => true), 0, 0.001f, "after a cut");

                    // Off: the last picture, moved along, as ever.
                    camera.Interpolate = false;
                    for (var frame = 12; frame < 18; frame++)
                    {
                        scene.Show(frame);
                        Fixture.Frame(camera, scene.Picture, shown);
                    }
                    Fixture.Equal(camera.FramesLate, 0, "frames late without");
                    Fixture.Near(scene.Error(shown, strength, (x, y) => scene.IsSquare(17, x, y)), 0, 0.01f, "without");
                    Stub.Reflect.Send(camera, "OnDisable");
                    Fixture.Free(shown);
                }
            }
        }
    }

    // What the network makes of the same scene changes from run to run: between key pictures by small steps.
    public static void between_key_pictures_one_becomes_the_other()
    {
        const int every = 8;
        Stub.Networks.Flicker = 0.1f;
        foreach (var interpolate in new[] { false, true })
        {
            using (var scene = new MovingScene(false))
            {
                scene.Show(0, true);
                var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
                var camera = SceneCamera();
                camera.RunEveryFrames = every;
                camera.Interpolate = interpolate;
                Stub.Reflect.Send(camera, "OnEnable");
                float last = 0, largest = 0, lowest = 1, highest = 0;
                for (var frame = 0; frame < 5 * every; frame++)
                {
                    Fixture.Frame(camera, scene.Picture, shown);
                    var level = shown.texels[4 * (MovingScene.Width / 2)];
                    if (frame > every) largest = Math.Max(largest, Math.Abs(level - last));
                    lowest = Math.Min(lowest, level);
                    highest = Math.Max(highest, level);
                    last = level;
                }
                Fixture.Near(highest - lowest, 0.2f, 0.01f, "from key picture to key picture");
                Fixture.Near(largest, interpolate ? 0.2f / every : 0.2f, 0.01f, "from frame to frame");
                Stub.Reflect.Send(camera, "OnDisable");
                Fixture.Free(shown);
            }
        }
        Stub.Networks.Flicker = 0;
    }

    public static void a_mask_is_shown_with_its_own_frame()
    {
        using (var scene = new MovingScene(true))
        {
            var frame = 0;
            Stub.World.Replace = eye =>
            {
                var mask = eye.targetTexture;
                for (var i = 0; i < mask.texels.Length; i++)
                    mask.texels[i] = scene.IsSquare(frame, i / 4 % mask.width, i / 4 / mask.width) ? 1 : 0;
            };
            var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            var camera = SceneCamera();
            camera.RunEveryFrames = 3;
            camera.StylizedLayers = 1;
            camera.Interpolate = true;
            Stub.Reflect.Send(camera, "OnEnable");
            for (; frame < 12; frame++)
            {
                scene.Show(frame);
                Fixture.Frame(camera, scene.Picture, shown);
                var lies = Math.Max(0, frame - 2);
                scene.Show(lies);
                Fixture.Near(scene.Error(shown, 1, (x, y) => scene.IsSquare(lies, x, y)), 0, 0.01f, "square " + frame);
                Fixture.Near(scene.Error(shown, 0, (x, y) => !scene.IsSquare(lies, x, y)), 0, 0.01f, "around " + frame);
            }
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Free(shown);
        }
    }

    // Where textures cannot be copied, the last picture is moved along.
    public static void a_machine_that_cannot_keep_frames_moves_the_last_picture()
    {
        SystemInfo.copyTextureSupport = CopyTextureSupport.None;
        using (var scene = new MovingScene(true))
        {
            var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            var camera = SceneCamera();
            camera.RunEveryFrames = 3;
            camera.Interpolate = true;
            Stub.Reflect.Send(camera, "OnEnable");
            for (var frame = 0; frame < 6; frame++)
            {
                scene.Show(frame);
                Fixture.Frame(camera, scene.Picture, shown);
                Fixture.Equal(camera.FramesLate, 0, "frames late");
                Fixture.Near(scene.Error(shown, 1, (x, y) => scene.IsSquare(frame, x, y)), 0, 0.01f, "frame " + frame);
            }
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Free(shown);
        }
        SystemInfo.copyTextureSupport = (CopyTextureSupport)31;
    }

    public static void textures_are_asked_of_the_camera_only_where_they_are_used_and_taken_back()
    {
        using (var scene = new MovingScene(false))
        {
            var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            var camera = SceneCamera();
            var unity = camera.GetComponent<Camera>();
            unity.depthTextureMode = DepthTextureMode.DepthNormals;
            Stub.Reflect.Send(camera, "OnEnable");
            Action<int> expect = mode =>
            {
                Fixture.Frame(camera, scene.Picture, shown);
                Fixture.Equal((int)unity.depthTextureMode, mode, "textures");
            };
            expect(2);
            camera.RunEveryFrames = 2;
            expect(2 | 1 | 4);
            camera.RunEveryFrames = 1;
            expect(2);
            unity.depthTextureMode |= DepthTextureMode.Depth;
            camera.BudgetMilliseconds = 1;
            expect(2 | 1 | 4);
            camera.Reproject = false;
            expect(2 | 1);
            camera.Reproject = true;
            expect(2 | 1 | 4);
            camera.Stylize = false;
            expect(2 | 1);
            camera.Stylize = true;
            SystemInfo.supportsMotionVectors = false;
            expect(2 | 1);
            SystemInfo.supportsMotionVectors = true;
            expect(2 | 1 | 4);
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Equal((int)unity.depthTextureMode, 2 | 1, "textures after");
            Fixture.Free(shown);
        }
    }

    public static void a_pipeline_records_and_the_network_runs_before_the_next_frame()
    {
        if (EngineRig.RunsInsideFrames) return; // in_a_pipeline_the_network_runs_inside_the_frame

        GraphicsSettings.renderPipelineAsset = new ForeignPipeline { name = "UniversalRP" };
        using (var scene = new MovingScene(true))
        {
            var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            var camera = SceneCamera();
            Stub.Reflect.Send(camera, "OnEnable");
            Fixture.Equal(ReferenceEquals(StyleTransferCamera.Of(camera.GetComponent<Camera>()), camera), true, "found");
            Fixture.Equal(camera.NeedsMotion(true), true, "motion is of use");
            var commands = new CommandBuffer();
            for (var frame = 0; frame < 6; frame++)
            {
                Stub.Reflect.Send(camera, "LateUpdate");
                Fixture.Equal(Stub.Networks.Executions, frame, "runs");
                scene.Show(frame);
                commands.Clear();
                var drawn = camera.Record(commands, scene.Picture, shown, MotionSource.Universal, null);
                Fixture.Equal(drawn, frame > 0, "drawn");
                Fixture.Equal(Stub.Networks.Executions, frame, "runs while recording");
                commands.Execute();
                if (!drawn) continue;
                var known = scene.Error(shown, (x, y) => !scene.IsNew(frame, frame - 1, x, y));
                Fixture.Near(known, 0, 0.001f, "frame " + frame);
            }
            Fixture.Equal(Stub.World.Logs.Count, 0, "lines in the console");
            commands.Dispose();
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Equal(StyleTransferCamera.Of(camera.GetComponent<Camera>()), null, "found while disabled");
            Fixture.Free(shown);
        }
    }

    public static void in_a_pipeline_the_network_runs_inside_the_frame()
    {
        if (!EngineRig.RunsInsideFrames) return;

        GraphicsSettings.renderPipelineAsset = new ForeignPipeline { name = "UniversalRP" };
        using (var scene = new MovingScene(true))
        {
            var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            var camera = SceneCamera();
            Stub.Reflect.Send(camera, "OnEnable");
            var commands = new CommandBuffer();
            for (var frame = 0; frame < 5; frame++)
            {
                Stub.Reflect.Send(camera, "LateUpdate");
                scene.Show(frame);
                commands.Clear();
                Fixture.Equal(camera.Record(commands, scene.Picture, shown, MotionSource.None, null), true, "drawn");
                commands.Execute();

                // No frame late: every pixel is that of this frame's own picture.
                Fixture.Near(scene.Error(shown, (x, y) => true), 0, 0.001f, "frame " + frame);
                Fixture.Equal(Stub.Networks.Executions, frame + 1, "runs");
                Fixture.Equal(camera.NeedsMotion(true), false, "motion is of no use");
            }

            // Spread over frames, a run goes the other way, and back.
            camera.SpreadFrames = 2;
            Fixture.Equal(camera.NeedsMotion(true), true, "motion is of use");
            for (var frame = 5; frame < 9; frame++) RecordFrame(camera, commands, scene, shown, frame);
            if (scene.Error(shown, (x, y) => true) < 0.01f) throw new Exception("a run of two frames shows this frame");
            camera.SpreadFrames = 1;
            for (var frame = 9; frame < 12; frame++) RecordFrame(camera, commands, scene, shown, frame);
            Fixture.Near(scene.Error(shown, (x, y) => true), 0, 0.001f, "inside the frame again");
            Fixture.Equal(Stub.World.Logs.Count, 0, "lines in the console");
            commands.Dispose();
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Free(shown);
        }
    }

    static void RecordFrame
        (StyleTransferCamera camera, CommandBuffer commands, MovingScene scene, RenderTexture shown, int frame)
    {
        Stub.Reflect.Send(camera, "LateUpdate");
        scene.Show(frame);
        commands.Clear();
        camera.Record(commands, scene.Picture, shown, MotionSource.None, null);
        commands.Execute();
    }

    public static void copies_of_motion_and_depth_serve_as_well()
    {
        GraphicsSettings.renderPipelineAsset = new ForeignPipeline { name = "HDRP" };
        using (var scene = new MovingScene(true))
        {
            var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            RenderTexture depth = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            RenderTexture motion = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
            depth.filterMode = motion.filterMode = FilterMode.Point;
            var camera = SceneCamera();
            camera.RunEveryFrames = 3;
            Stub.Reflect.Send(camera, "OnEnable");
            var commands = new CommandBuffer();
            for (var frame = 0; frame < 4; frame++)
            {
                Stub.Reflect.Send(camera, "LateUpdate");
                scene.Show(frame);
                Graphics.Blit((Texture)Shader.globals["_CameraDepthTexture"], depth);
                Graphics.Blit((Texture)Shader.globals["_CameraMotionVectorsTexture"], motion);
                camera.SetCopies(depth, motion);
                commands.Clear();
                camera.Record(commands, scene.Picture, shown, MotionSource.Copies, null);
                commands.Execute();
                if (frame == 0) continue;
                var known = scene.Error(shown, (x, y) => !scene.IsNew(frame, 0, x, y));
                Fixture.Near(known, 0, 0.001f, "frame " + frame);
            }
            commands.Dispose();
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Free(shown, depth, motion);
        }
    }

    public static void a_pipeline_without_our_pass_is_said_once()
    {
        GraphicsSettings.renderPipelineAsset = new ForeignPipeline { name = "UniversalRP" };
        var camera = Fixture.Camera(Fixture.Style());
        Stub.Reflect.Send(camera, "OnEnable");
        for (var frame = 0; frame < 200; frame++) Stub.Reflect.Send(camera, "LateUpdate");
        Fixture.Equal(Stub.World.Logs.Count, 0, "lines while nothing is rendered, as in a hidden Game view");
        for (var frame = 0; frame < 200; frame++)
        {
            RenderPipelineManager.StubEnd(camera.GetComponent<Camera>());
            Stub.Reflect.Send(camera, "LateUpdate");
        }
        Fixture.Equal(Stub.World.LogCount("'UniversalRP', and no pass of it draws"), 1, "complaints");
        Fixture.Equal(Stub.World.Logs.Count, 1, "lines in the console");
        Stub.Reflect.Send(camera, "OnDisable");
    }

    sealed class ForeignPipeline : RenderPipelineAsset {}

    public static void another_style_is_shown_when_its_first_picture_is_finished()
    {
        foreach (var preload in new[] { true, false })
        {
            RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
            StyleTransferModel first = Fixture.Style(), second = Fixture.Style(), third = Fixture.Style();
            EngineRig.LetItKeepItsInput(second);
            var camera = Fixture.Camera(first);
            camera.Reproject = false;
            camera.Styles = new[] { first, second, third };
            camera.PreloadStyles = preload;
            Stub.Reflect.Send(camera, "OnEnable");
            for (var frame = 0; frame < 4; frame++)
            {
                Fixture.Frame(camera, source, shown);
                Fixture.Equal(camera.LoadedStyles, preload ? Math.Min(frame + 1, 3) : 1, "loaded, one per frame");
            }

            camera.NextStyle();
            Fixture.Equal(ReferenceEquals(camera.Model, second), true, "next style");
            for (var frame = 1; ; frame++)
            {
                var layers = Stub.Networks.LayersRun;
                Fixture.Frame(camera, source, shown);
                if (ReferenceEquals(camera.Runner.Model, second))
                {
                    Fixture.Equal(frame, 8, "frames until it is shown");
                    break;
                }
                Fixture.IsInverted(source, shown, 1, "old style in frame " + frame);
                if (Stub.Networks.LayersRun - layers > 3) throw new Exception("too much in one frame");
            }
            Fixture.IsSame(source, shown, "new style");
            Fixture.Frame(camera, source, shown);
            Fixture.IsSame(source, shown, "new style, next frame");
            Fixture.Equal(camera.LoadedStyles, preload ? 3 : 1, "loaded after");

            camera.SwitchTo(-1);
            Fixture.Equal(ReferenceEquals(camera.Model, third), true, "the last style");
            camera.NextStyle();
            Fixture.Equal(ReferenceEquals(camera.Model, first), true, "round");
            camera.Styles = null;
            camera.SwitchTo(1);
            camera.NextStyle();
            Fixture.Equal(ReferenceEquals(camera.Model, first), true, "no styles");
            Stub.Reflect.Send(camera, "OnDisable");
            Fixture.Equal(Stub.Live.Count("Worker"), 0, "workers");
            Fixture.Free(source, shown);
        }
    }

    public static void a_style_that_cannot_be_loaded_is_said_once_and_the_others_work()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        StyleTransferModel good = Fixture.Style(), bad = Fixture.Style();
        Stub.Reflect.Set(bad, "inputName", "other");
        var camera = Fixture.Camera(good);
        camera.Styles = new[] { bad, null, good };
        Stub.Reflect.Send(camera, "OnEnable");
        for (var frame = 0; frame < 5; frame++) Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown);
        Fixture.Equal(Stub.World.Logs.Count, 1, "lines in the console");
        camera.SwitchTo(0);
        for (var frame = 0; frame < 5; frame++) Fixture.Frame(camera, source, shown);
        Fixture.IsSame(source, shown, "the style that cannot be loaded");
        camera.SwitchTo(2);
        Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown);
        Fixture.Equal(Stub.World.Logs.Count, 1, "lines in the console after");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void a_frame_rate_lowers_the_resolution_and_the_picture_stays()
    {
        RenderTexture source = Fixture.Picture(48, 32), shown = Fixture.Canvas(48, 32);
        for (var i = 0; i < source.texels.Length; i++) source.texels[i] = 0.25f;
        var camera = Fixture.Camera(Fixture.Style());
        camera.TargetHeight = 32;
        camera.MinimumHeight = 20;
        camera.TargetFrameRate = 60;
        camera.SpreadFrames = 3;
        Stub.Reflect.Send(camera, "OnEnable");
        Time.unscaledDeltaTime = 0.030f;
        var heights = new List<int>();
        for (var frame = 0; frame < 240; frame++)
        {
            // Around the first changes of size.
            Stub.World.Blind = frame > 60;
            Fixture.Frame(camera, source, shown);
            var height = camera.Runner.Size.Height;
            if (heights.Count == 0 || heights[heights.Count - 1] != height) heights.Add(height);
            if (frame >= 3 && frame <= 60) Fixture.IsInverted(source, shown, 1, "frame " + frame);
        }
        Fixture.Equal(string.Join(" ", heights), "32 28 24 20", "heights");
        Fixture.Near(camera.ResolutionScale, (float)Math.Pow(0.84, 9), 1e-5f, "scale");
        Time.unscaledDeltaTime = 0.016f;
        for (var frame = 0; frame < 1400; frame++) Fixture.Frame(camera, source, shown);
        Fixture.Equal(camera.Runner.Size.Height, 32, "height when there is time again");
        camera.TargetFrameRate = 0;
        Fixture.Equal(camera.ResolutionScale, 1f, "scale without a frame rate");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void the_profiler_names_each_step()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        Stub.World.Replace = eye => {};
        var camera = Fixture.Camera(Fixture.Style());
        camera.StylizedLayers = 1;
        Stub.Reflect.Send(camera, "OnEnable");
        for (var frame = 0; frame < 3; frame++) Fixture.Frame(camera, source, shown);
        foreach (var step in new[] { "Observe", "Run", "Compose", "Mask" })
            Fixture.Equal(Stub.World.Samples["StyleTransfer." + step], 3, step);
        Fixture.Equal(Stub.World.Samples["StyleTransfer.Load"], 1, "Load");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void after_a_cut_nothing_old_is_shown()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var camera = Fixture.Camera(Fixture.Style());
        camera.Reproject = false;
        camera.RunEveryFrames = 16;
        Stub.Reflect.Send(camera, "OnEnable");
        Fixture.Frame(camera, source, shown);
        Fixture.Paint(source, 5);
        camera.Cut();
        Fixture.Frame(camera, source, shown);
        Fixture.IsInverted(source, shown);
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void only_the_objects_of_the_chosen_layers_are_stylised()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        Stub.World.Replace = eye =>
        {
            Fixture.Equal(eye.cullingMask, 1 << 9, "layers");
            Fixture.Equal(eye.depthTextureMode, DepthTextureMode.None, "textures of the mask's camera");
            var mask = eye.targetTexture;
            for (var i = 0; i < mask.texels.Length; i++) mask.texels[i] = i / 4 % mask.width < mask.width / 2 ? 1 : 0;
        };
        var camera = Fixture.Camera(Fixture.Style());
        camera.StylizedLayers = 1 << 9 | 1 << 12;
        camera.GetComponent<Camera>().cullingMask = 0xfff;
        Stub.Reflect.Send(camera, "OnEnable");
        for (var frame = 0; frame < 3; frame++) Fixture.Frame(camera, source, shown);
        Fixture.Equal(camera.GetComponent<Camera>().depthTextureMode, DepthTextureMode.Depth, "textures");
        for (var i = 0; i < source.texels.Length; i++)
        {
            var wanted = source.texels[i];
            if (i % 4 != 3 && i / 4 % source.width < source.width / 2) wanted = 1 - wanted;
            Fixture.Near(shown.texels[i], wanted, 0.003f, "texel " + i / 4);
        }
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Free(source, shown);
    }

    public static void the_inspector_says_what_the_style_costs_and_what_runs()
    {
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var style = Fixture.Style();
        Stub.Reflect.Set(style, "weights", 108771);
        Stub.Reflect.Set(style, "fileBytes", 443000);
        Stub.Reflect.Set(style, "gigaMacs", 2f);
        Stub.Reflect.Set(style, "nominalWidth", 960);
        Stub.Reflect.Set(style, "nominalHeight", 540);
        var camera = Fixture.Camera(style);
        camera.TargetHeight = 270;
        camera.RunEveryFrames = 3;
        var type = typeof(StyleTransfer.Editor.GoldenFrames).Assembly.GetType("StyleTransfer.Editor.StyleTransferSettingsEditor");
        var inspector = (UnityEditor.Editor)Activator.CreateInstance(type, true);
        inspector.target = camera;
        inspector.OnInspectorGUI();
        Fixture.Equal(Stub.World.Logs[0], "box Info Candy: 108,771 weights, 0.44 MB. The network runs at 480 x 272: 0.5 " +
            "billion multiply-adds per picture, once every 3 frames.", "cost");
        Fixture.Equal(Stub.World.Logs.Count, 1, "boxes before it runs");

        Stub.Reflect.Send(camera, "OnEnable");
        Fixture.Frame(camera, source, shown);
        inspector.OnInspectorGUI();
        Fixture.Equal(Stub.World.Logs[2],
            "box None Candy runs at 32 x 16 on " + EngineRig.BestWorker + "; networks loaded: 1; resolution 100 %.", "what runs");
        Fixture.Equal(inspector.RequiresConstantRepaint(), true, "drawn anew while playing");

        camera.Model = null;
        Stub.World.Logs.Clear();
        Stub.Reflect.Send(camera, "OnDisable");
        inspector.OnInspectorGUI();
        Fixture.Equal(Stub.World.Logs.Count, 0, "boxes without a model");
        Fixture.Free(source, shown);
    }

    public static void a_lost_shader_is_said_once_and_the_picture_passes()
    {
        foreach (var name in new[] { "Convert", "Motion", "Mask" })
        {
            Stub.World.Logs.Clear();
            Stub.World.LostShader = "Hidden/StyleTransfer/" + name;
            Stub.World.Replace = eye => {};
            using (var scene = new MovingScene(false))
            {
                var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
                var camera = SceneCamera();
                if (name == "Convert") Stub.Reflect.Set(camera, "convertShader", null);
                camera.RunEveryFrames = 2;
                camera.StylizedLayers = 1;
                Stub.Reflect.Send(camera, "OnEnable");
                for (var frame = 0; frame < 5; frame++)
                {
                    scene.Show(frame);
                    Fixture.Frame(camera, scene.Picture, shown);
                    Fixture.IsSame(scene.Picture, shown, name);
                }
                Fixture.Equal(Stub.World.LogCount(name + " is missing. Assign it to the field " + name + " Shader"), 1, name);
                Fixture.Equal(Stub.World.Logs.Count, 1, name + ": lines in the console");
                Stub.Reflect.Send(camera, "OnDisable");
                Fixture.Free(shown);
            }
        }
    }

    public static void the_scene_view_shows_the_style_where_that_is_asked_for()
    {
        Application.isPlaying = false;
        RenderTexture source = Fixture.Picture(), shown = Fixture.Canvas();
        var camera = Fixture.Camera(Fixture.Style());
        Stub.Reflect.Send(camera, "OnEnable");
        var eye = new GameObject("SceneCamera").AddComponent<UnityEngine.Camera>();
        eye.cameraType = CameraType.SceneView;
        var view = new UnityEditor.SceneView();
        view.camera = eye;
        UnityEditor.SceneView.sceneViews.Add(view);
        UnityEditorInternal.InternalEditorUtility.isApplicationActive = true;
        var preview = typeof(StyleTransfer.Editor.GoldenFrames).Assembly.GetType("StyleTransfer.Editor.SceneViewPreview");
        preview.GetMethod("Watch", BindingFlags.Static | BindingFlags.NonPublic).Invoke(null, null);
        Func<StyleTransferCamera> update = () =>
        {
            UnityEditor.EditorApplication.timeSinceStartup += 0.06;
            UnityEditor.EditorApplication.update();
            return eye.GetComponent<StyleTransferCamera>();
        };

        Fixture.Equal(update(), null, "off by default");
        Fixture.Equal(UnityEditor.SceneView.repaints, 0, "redraws while off");
        camera.PreviewInSceneView = true;
        var copy = update();
        for (var frame = 0; frame < 3; frame++) Fixture.Frame(copy, source, shown);
        Fixture.IsInverted(source, shown);
        Fixture.Equal(copy.NeedsMotion(true), false, "motion in the Scene view");
        Fixture.Frame(camera, source, shown);
        Fixture.IsSame(source, shown, "the Game view");
        for (var i = 0; i < 20; i++) update();
        Fixture.Equal(UnityEditor.SceneView.repaints, 11, "redraws of 21 updates, ten a second");
        Fixture.Equal(UnityEditor.EditorApplication.loops, 11, "player loops");

        camera.Strength = 0.5f;
        copy = update();
        Fixture.Frame(copy, source, shown);
        Fixture.IsInverted(source, shown, 0.5f, "settings follow");

        // As Unity's own effects: not with the view's effects off, not in wireframe, not while playing.
        view.sceneViewState.showImageEffects = false;
        Fixture.Equal(update(), null, "effects off");
        Fixture.Equal(Stub.Live.Count("Worker"), 0, "workers while it is off");
        view.sceneViewState.showImageEffects = true;
        Fixture.Equal(update() != null, true, "effects on");
        view.cameraMode = new UnityEditor.SceneView.CameraMode { drawMode = UnityEditor.DrawCameraMode.Wireframe };
        Fixture.Equal(update(), null, "wireframe");
        view.cameraMode = new UnityEditor.SceneView.CameraMode();
        Fixture.Equal(update() != null, true, "shaded");
        Application.isPlaying = true;
        Fixture.Equal(update(), null, "while playing");
        Application.isPlaying = false;
        Fixture.Equal(update() != null, true, "after Play");

        // Scripts are loaded again.
        Fixture.Frame(eye.GetComponent<StyleTransferCamera>(), source, shown);
        UnityEditor.AssemblyReloadEvents.StubReload();
        Fixture.Equal(eye.GetComponent<StyleTransferCamera>(), null, "before a reload");
        Stub.Reflect.Send(camera, "OnDisable");
        Fixture.Equal(update(), null, "a disabled component");
        UnityEditor.SceneView.sceneViews.Clear();
        UnityEditor.EditorApplication.update = null;
        UnityEngine.Object.DestroyImmediate(eye.gameObject);
        Fixture.Free(source, shown);
    }

    public static void disabling_in_the_middle_of_anything_frees_all()
    {
        Stub.World.Blind = true;
        foreach (var worker in EngineRig.Workers)
        {
            for (var frames = 0; frames < 14; frames++)
            {
                using (var scene = new MovingScene(true))
                {
                    var shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
                    StyleTransferModel first = Fixture.Style(), second = Fixture.Style();
                    var camera = SceneCamera();
                    camera.Model = first;
                    camera.Worker = worker;
                    camera.Styles = new[] { first, second };
                    camera.SpreadFrames = 4;
                    camera.TargetFrameRate = 60;
                    camera.Interpolate = frames % 2 == 1;
                    Stub.Reflect.Send(camera, "OnEnable");
                    for (var frame = 0; frame < frames; frame++)
                    {
                        scene.Show(frame);
                        if (frame == 6) camera.NextStyle();
                        Fixture.Frame(camera, scene.Picture, shown);
                    }
                    Stub.Reflect.Send(camera, "OnDisable");
                    Fixture.Free(shown);
                }
                var leaks = Stub.Live.Leaks();
                if (leaks != "") throw new Exception(worker + ", " + frames + " frames: " + leaks);
            }
        }
    }
}

// One pass on textures from standard input, for the comparison with Python.
//   "<shader> <pass> <width> <height>"        what to draw, and how large
//   "texture <name> <width> <height> <point>" followed by a line of numbers, r g b a per texel, row 0 first
//   "vector <name> <x> <y> <z> <w>"
static class Shading
{
    public static int Print()
    {
        var head = Console.ReadLine().Split(' ');
        var target = Fixture.Canvas(int.Parse(head[2]), int.Parse(head[3]));
        var material = new Material(Shader.Find("Hidden/StyleTransfer/" + head[0]));
        RenderTexture source = null;
        string line;
        while ((line = Console.ReadLine()) != null)
        {
            var words = line.Split(' ');
            var id = Shader.PropertyToID(words[1]);
            if (words[0] == "vector")
            {
                material.SetVector(id, new Vector4(F(words[2]), F(words[3]), F(words[4]), F(words[5])));
                continue;
            }
            var texture = Fixture.Canvas(int.Parse(words[2]), int.Parse(words[3]));
            texture.filterMode = words[4] == "point" ? FilterMode.Point : FilterMode.Bilinear;
            texture.texels = Array.ConvertAll(Console.ReadLine().Split(' '), F);
            material.SetTexture(id, texture);
            if (words[1] == "_MainTex") source = texture;
        }
        Stub.World.Shade = Hlsl.Gpu.Draw;
        Graphics.Blit(source, target, material, int.Parse(head[1]));
        Console.WriteLine(string.Join(" ", Array.ConvertAll(target.texels, v => v.ToString("R", CultureInfo.InvariantCulture))));
        return 0;
    }

    public static int PrintDepth()
    {
        string line;
        while ((line = Console.ReadLine()) != null)
        {
            var words = line.Split(' ');
            var v = EyeDepth.Of(F(words[0]), F(words[1]), words[2] == "True", words[3] == "True");
            foreach (var n in new[] { v.x, v.y, v.z, v.w }) Console.Write(n.ToString("R", CultureInfo.InvariantCulture) + " ");
            Console.WriteLine();
        }
        return 0;
    }

    static float F(string text) => float.Parse(text, CultureInfo.InvariantCulture);
}
