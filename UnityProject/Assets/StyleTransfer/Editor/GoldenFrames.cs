using System;
using System.Collections.Generic;
using System.Globalization;
using UnityEditor;
using UnityEngine;

namespace StyleTransfer.Editor
{

/// <summary>
/// The difference between a model's output for its golden input and the golden output.
/// </summary>
public sealed class GoldenFrameResult
{
    /// <summary>Whether the model computes what its source network computed.</summary>
    public bool Passed { get; private set; }

    /// <summary>The largest difference of any channel of any pixel, in levels of 255.</summary>
    public float WorstLevels { get; private set; }

    /// <summary>The mean difference, in levels of 255.</summary>
    public float MeanLevels { get; private set; }

    /// <summary>One sentence for the console.</summary>
    public string Message { get; private set; }

    /// <summary>The model could not be run or compared.</summary>
    public static GoldenFrameResult Failed(string message)
      => new GoldenFrameResult { Message = message };

    /// <summary>The model was compared.</summary>
    public static GoldenFrameResult Compared(bool passed, float worst, float mean, string message)
      => new GoldenFrameResult { Passed = passed, WorstLevels = worst, MeanLevels = mean, Message = message };
}

/// <summary>
/// Runs the models of this project on their golden frames, on the CPU where the engine can, so that it works without
/// a graphics device: from the menu, from the Test Runner, and in batch mode with
/// <c>-executeMethod StyleTransfer.Editor.GoldenFrames.CheckAll</c>.
/// </summary>
public static class GoldenFrames
{
    #region Public methods

    /// <summary>The asset paths of all models of this project.</summary>
    public static IEnumerable<string> FindModelPaths()
    {
        foreach (var guid in AssetDatabase.FindAssets("t:" + typeof(StyleTransferModel).Name))
            yield return AssetDatabase.GUIDToAssetPath(guid);
    }

    /// <summary>
    /// Checks every model of this project and logs the results. In batch mode Unity then exits: 0 if all
    /// passed, 1 if one failed or there is none.
    /// </summary>
    [MenuItem("Style Transfer/Check Golden Frames")]
    public static void CheckAll()
    {
        int models = 0, failures = 0;

        foreach (var path in FindModelPaths())
        {
            var model = AssetDatabase.LoadAssetAtPath<StyleTransferModel>(path);
            if (model != null && model.IsPredictor) continue;
            models++;
            if (!CheckAndLog(model)) failures++;
        }

        if (models == 0)
            Debug.LogError("Style Transfer: this project has no style to check.");

        if (Application.isBatchMode)
            EditorApplication.Exit(models > 0 && failures == 0 ? ExitSuccess : ExitFailure);
    }

    /// <summary>Checks one model and logs the result.</summary>
    /// <returns>whether it passed</returns>
    public static bool CheckAndLog(StyleTransferModel asset)
    {
        var result = Check(asset);
        if (result.Passed)
            Debug.Log(result.Message, asset);
        else
            Debug.LogError(result.Message, asset);
        return result.Passed;
    }

    /// <summary>
    /// Checks one model. It passes if every channel of every pixel is within the model's golden tolerance, plus
    /// half a level because the golden picture is rounded to 8 bits.
    /// </summary>
    public static GoldenFrameResult Check(StyleTransferModel asset)
    {
        var obstacle = FindObstacle(asset);
        if (obstacle != null) return GoldenFrameResult.Failed(Title(asset) + obstacle);

        try
        {
            return Compare(asset);
        }
        catch (Exception exception)
        {
            return GoldenFrameResult.Failed(Title(asset) + "could not be run: " + exception);
        }
    }

    #endregion

    #region Private methods

    const int ExitSuccess = 0;
    const int ExitFailure = 1;
    const int ColorChannels = 3;
    const float Levels = 255;
    const float HalfLevel = 0.5f;

    static string Title(StyleTransferModel asset)
      => "Golden frame of '" + (asset == null ? "(missing)" : asset.DisplayName) + "': ";

    static string FindObstacle(StyleTransferModel asset)
    {
        if (asset == null) return "the asset could not be loaded.";
        if (!asset.HasNetwork)
            return "the asset has no network. Check that the model file next to it was imported without errors.";
        if (asset.GoldenInput == null || asset.GoldenOutput == null)
            return "the asset has no golden pictures. Build the bundle again with pipeline build-unity.";
        for (var style = 0; style < asset.StyleCount; style++)
            if (asset.StyleGoldenOutput(style) == null)
                return "the asset has no golden picture of its style " + asset.StyleName(style) +
                  ". Build the bundle again with pipeline build-unity.";
        for (var i = 0; i < asset.Guides.Length; i++)
            if (asset.GoldenGuide(i) == null || !asset.GoldenGuide(i).isReadable)
                return "the picture of its guide " + asset.Guides[i] + " is missing or cannot be read. Build the bundle " +
                  "again with pipeline build-unity.";
        if (!asset.GoldenInput.isReadable || !asset.GoldenOutput.isReadable)
            return "its pictures cannot be read. Enable Read/Write in their import settings.";
        return null;
    }

    // The worst of all styles of the network.
    static GoldenFrameResult Compare(StyleTransferModel asset)
    {
        var worst = Compare(asset, 0);
        for (var style = 1; style < asset.StyleCount && worst.Passed; style++)
        {
            var other = Compare(asset, style);
            if (!other.Passed || other.WorstLevels > worst.WorstLevels) worst = other;
        }
        return worst;
    }

    static GoldenFrameResult Compare(StyleTransferModel asset, int style)
    {
        StyleTransferWorker worker;
        WorkingSize size;
        int channels;
        var actual = Run(asset, style, out worker, out size, out channels);

        var picture = asset.StyleGoldenOutput(style);
        if (size.Width != picture.width || size.Height != picture.height)
            return GoldenFrameResult.Failed(Title(asset) + "the network's output has " + Size(size.Width, size.Height) +
              " pixels, but the golden output has " + Size(picture.width, picture.height) + ".");

        float worst, mean;
        Measure(actual, picture.GetPixels32(), size.Width, size.Height, channels, out worst, out mean);

        // Not worst <= bound: a picture of NaN must fail.
        var bound = asset.GoldenTolerance + HalfLevel;
        var passed = worst <= bound && !float.IsNaN(mean);

        var named = asset.StyleCount > 1 ? " with " + asset.StyleName(style) : "";
        return GoldenFrameResult.Compared(passed, worst, mean, Title(asset) + (passed ? "passed" : "FAILED") + named +
          " on " + worker + ", worst difference " + Number(worst) + ", mean " + Number(mean) +
          " levels of 255 (tolerance " + Number(bound) + ").");
    }

    // On the first worker that runs, because the one that Auto selects needs a graphics device.
    static float[] Run(StyleTransferModel asset, int style, out StyleTransferWorker worker, out WorkingSize size,
                       out int channels)
    {
        var load = NetworkLoad.Start(asset);
        var workers = load.Engine.ProofWorkers;
        var values = AddGuides(asset, ReadValues(asset.GoldenInput, asset.InputChannels));
        for (var i = 0; ; i++)
        {
            worker = workers[i];
            try
            {
                using (var network = load.Take(worker))
                {
                    var weights = Weights(asset, style, worker);
                    if (weights.Length > 1 || asset.HasStyleVectors) network.SetStyle(weights);
                    return network.Compute(values, new WorkingSize(asset.GoldenInput.width, asset.GoldenInput.height),
                                           out size, out channels);
                }
            }
            catch (Exception exception) when (i + 1 < workers.Length)
            {
                Debug.LogWarning("Style Transfer: the " + worker + " worker failed, trying " + workers[i + 1] + ". " +
                  exception, asset);
            }
        }
    }

    // A style's numbers come from the style itself, where the bundle has it: then the predictor is checked too.
    static float[] Weights(StyleTransferModel asset, int style, StyleTransferWorker worker)
    {
        if (!asset.HasStyleVectors)
        {
            var weights = new float[asset.StyleCount];
            weights[style] = 1;
            return weights;
        }

        var picture = asset.StylePicture(style);
        if (picture == null || asset.Predictor == null)
        {
            var all = asset.ReadStyleVectors();
            var numbers = new float[all.Length / asset.StyleCount];
            Array.Copy(all, style * numbers.Length, numbers, 0, numbers.Length);
            return numbers;
        }

        WorkingSize size;
        int channels;
        using (var predictor = NetworkLoad.Start(asset.Predictor).Take(worker))
            return predictor.Compute(ReadValues(picture, asset.Predictor.InputChannels),
              new WorkingSize(picture.width, picture.height), out size, out channels);
    }

    // The channels of the guides after those of the colour, pixel by pixel.
    static float[] AddGuides(StyleTransferModel asset, float[] values)
    {
        for (var i = 0; i < asset.Guides.Length; i++)
        {
            var more = GuideLayout.ChannelsOf(asset.Guides[i]);
            values = Interleave(values, ReadValues(asset.GoldenGuide(i), more), more);
        }
        return values;
    }

    static float[] Interleave(float[] values, float[] guide, int more)
    {
        var pixels = guide.Length / more;
        var channels = values.Length / pixels;
        var joined = new float[values.Length + guide.Length];
        for (var pixel = 0; pixel < pixels; pixel++)
        {
            Array.Copy(values, pixel * channels, joined, pixel * (channels + more), channels);
            Array.Copy(guide, pixel * more, joined, pixel * (channels + more) + channels, more);
        }
        return joined;
    }

    // Row 0 of a texture is the bottom, row 0 of a tensor the top.
    static float[] ReadValues(Texture2D picture, int channels)
    {
        var pixels = picture.GetPixels32();
        var values = new float[pixels.Length * channels];
        var index = 0;

        for (var row = picture.height - 1; row >= 0; row--)
        {
            for (var column = 0; column < picture.width; column++)
            {
                var pixel = pixels[row * picture.width + column];
                if (channels == ColorChannels)
                {
                    values[index++] = pixel.r / Levels;
                    values[index++] = pixel.g / Levels;
                    values[index++] = pixel.b / Levels;
                }
                else
                {
                    values[index++] = (pixel.r + pixel.g + pixel.b) / (ColorChannels * Levels);
                }
            }
        }

        return values;
    }

    static void Measure(float[] actual, Color32[] expected, int width, int height, int channels,
                        out float worst, out float mean)
    {
        var sum = 0.0;
        var index = 0;
        worst = 0;

        for (var row = height - 1; row >= 0; row--)
        {
            for (var column = 0; column < width; column++)
            {
                var pixel = expected[row * width + column];
                for (var channel = 0; channel < channels; channel++)
                {
                    var level = channel == 0 ? pixel.r : channel == 1 ? pixel.g : pixel.b;
                    var difference = Mathf.Abs(actual[index++] * Levels - level);
                    worst = Mathf.Max(worst, difference);
                    sum += difference;
                }
            }
        }

        mean = (float)(sum / index);
    }

    static string Size(int width, int height)
      => width.ToString(CultureInfo.InvariantCulture) + "x" + height.ToString(CultureInfo.InvariantCulture);

    static string Number(float value) => value.ToString("0.###", CultureInfo.InvariantCulture);

    #endregion
}

}
