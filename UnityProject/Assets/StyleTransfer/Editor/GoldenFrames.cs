using System;
using System.Collections.Generic;
using System.Globalization;
using UnityEditor;
using UnityEngine;
using Unity.Barracuda;

namespace StyleTransfer.Editor
{

/// <summary>
/// How far a model's picture of its golden input is from the golden output.
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
/// Runs the models of this project on their golden frames, on the CPU, so that it works without a graphics
/// device: from the menu, from the Test Runner, and in batch mode with
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
    /// Checks every model of this project and logs what came out. In batch mode Unity then exits: 0 if all
    /// passed, 1 if one failed or there is none.
    /// </summary>
    [MenuItem("Style Transfer/Check Golden Frames")]
    public static void CheckAll()
    {
        int models = 0, failures = 0;

        foreach (var path in FindModelPaths())
        {
            models++;
            if (!CheckAndLog(AssetDatabase.LoadAssetAtPath<StyleTransferModel>(path))) failures++;
        }

        if (models == 0)
            Debug.LogError("Style Transfer: there is no model in this project to check.");

        if (Application.isBatchMode)
            EditorApplication.Exit(models > 0 && failures == 0 ? ExitSuccess : ExitFailure);
    }

    /// <summary>Checks one model and logs what came out.</summary>
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
    /// Checks one model. Passes if every channel of every pixel is within the model's golden tolerance, plus
    /// the half level that the golden picture lost when it was rounded to 8 bits.
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
            return "the asset has no network. Check that the .onnx file beside it was imported without errors.";
        if (asset.GoldenInput == null || asset.GoldenOutput == null)
            return "the asset has no golden pictures. Build the bundle again with pipeline build-unity.";
        if (!asset.GoldenInput.isReadable || !asset.GoldenOutput.isReadable)
            return "its pictures cannot be read. Switch on Read/Write Enabled in their import settings.";
        return null;
    }

    static GoldenFrameResult Compare(StyleTransferModel asset)
    {
        var network = NetworkLoad.Start(asset).Take();
        var mismatch = ModelContract.FindMismatch(asset, network);
        if (mismatch != null) return GoldenFrameResult.Failed(Title(asset) + mismatch);

        string worker;
        int width, height, channels;
        var actual = Run(asset, network, out height, out width, out channels, out worker);

        var picture = asset.GoldenOutput;
        if (width != picture.width || height != picture.height)
            return GoldenFrameResult.Failed(Title(asset) + "the network gives " + Size(width, height) +
              " pixels, the golden output has " + Size(picture.width, picture.height) + ".");

        float worst, mean;
        Measure(actual, picture.GetPixels32(), width, height, channels, out worst, out mean);

        // Not worst <= bound: a picture of NaN must fail.
        var bound = asset.GoldenTolerance + HalfLevel;
        var passed = worst <= bound && !float.IsNaN(mean);

        return GoldenFrameResult.Compared(passed, worst, mean, Title(asset) + (passed ? "passed" : "FAILED") +
          " on " + worker + ", worst difference " + Number(worst) + ", mean " + Number(mean) +
          " levels of 255 (allowed " + Number(bound) + ").");
    }

    static float[] Run(StyleTransferModel asset, Model network,
                       out int height, out int width, out int channels, out string worker)
    {
        var values = ReadValues(asset.GoldenInput, asset.InputChannels);
        try
        {
            // By name: what Auto resolves to needs a graphics device.
            worker = "CSharpBurst";
            return Run(WorkerFactory.Type.CSharpBurst, asset, network, values, out height, out width, out channels);
        }
        catch (Exception exception)
        {
            Debug.LogWarning("Style Transfer: the CSharpBurst worker failed, trying CSharp. " + exception, asset);
            worker = "CSharp";
            return Run(WorkerFactory.Type.CSharp, asset, network, values, out height, out width, out channels);
        }
    }

    static float[] Run(WorkerFactory.Type type, StyleTransferModel asset, Model network, float[] values,
                       out int height, out int width, out int channels)
    {
        var picture = asset.GoldenInput;
        using (var worker = WorkerFactory.CreateWorker(type, network))
        using (var input = new Tensor(1, picture.height, picture.width, asset.InputChannels, values))
        {
            worker.Execute(input);
            var output = worker.PeekOutput(asset.OutputName);
            height = output.height;
            width = output.width;
            channels = output.channels;

            // A copy: the array may be the worker's own memory, and longer than the tensor.
            var copy = new float[height * width * channels];
            Array.Copy(output.ToReadOnlyArray(), copy, copy.Length);
            return copy;
        }
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
