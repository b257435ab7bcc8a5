using System;
using System.Collections;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using UnityEngine;
using Debug = UnityEngine.Debug;

namespace StyleTransfer.Benchmark
{

/// <summary>
/// Times every style at every size on every worker of this machine, and writes a table. Press Play, or build the scene
/// into a player for your target device.
/// </summary>
/// <remarks>
/// Each time is that of one picture from texture to texture: conversion to the network's size and colours, the network,
/// conversion back, and waiting for the GPU. In a game, the CPU continues during that wait.
/// </remarks>
[AddComponentMenu("Style Transfer/Benchmark")]
public sealed class StyleTransferBenchmark : MonoBehaviour
{
    #region Editable attributes

    [SerializeField, Tooltip("The styles to time. If empty, all styles of the project are timed, collected when " +
      "Play is pressed or a player is built.")]
    StyleTransferModel[] models = new StyleTransferModel[0];

    [SerializeField, Tooltip("Hidden/StyleTransfer/Convert. Referenced here so that it is included in players.")]
    Shader convertShader = null;

    [SerializeField, Tooltip("Picture sizes in pixels. A style with a fixed size runs at that size.")]
    Vector2Int[] sizes = { new Vector2Int(720, 540), new Vector2Int(1280, 720), new Vector2Int(1920, 1080) };

    [SerializeField, Tooltip("The workers to time. Those that this machine does not support are skipped.")]
    StyleTransferWorker[] workers =
    {
        StyleTransferWorker.ComputePrecompiled, StyleTransferWorker.Compute, StyleTransferWorker.PixelShader,
        StyleTransferWorker.CSharpBurst
    };

    [SerializeField, Tooltip("Number of warm-up runs, which compile kernels and allocate buffers.")]
    int warmupRuns = 5;

    [SerializeField, Tooltip("Number of timed runs.")]
    int runs = 50;

    [SerializeField, Tooltip("Time limit in seconds for each case; at least three runs are timed.")]
    float secondsPerCase = 15;

    [SerializeField, Tooltip("The file to write: next to Assets in the editor, in the persistent data path in a player.")]
    string fileName = "StyleTransferBenchmark.csv";

    [SerializeField, Tooltip("Quits the player after the table is written.")]
    bool quitWhenDone = false;

    #endregion

    #region Public members

    /// <summary>The styles to time.</summary>
    public StyleTransferModel[] Models
    {
        get => models;
        set => models = value;
    }

    /// <summary>The results so far.</summary>
    public BenchmarkTable Table => _table;

    /// <summary>Whether all is timed.</summary>
    public bool IsDone { get; private set; }

    /// <summary>Where the table is written.</summary>
    public string Path
      => System.IO.Path.Combine(Application.isEditor ? "." : Application.persistentDataPath, fileName);

    #endregion

    #region Private objects

    const int FewestRuns = 3;

    readonly BenchmarkTable _table = new BenchmarkTable();

    string _status = "";
    int _warmedUp;

    // Of the case under way.
    StyleTransferRunner _runner;
    RenderTexture _source, _destination;
    Texture2D _pixel;

    #endregion

    #region MonoBehaviour implementation

    IEnumerator Start() => Run();

    void OnDisable() => ReleaseCase();

    void OnGUI()
    {
        var area = new Rect(Margin, Margin, Screen.width - 2 * Margin, Screen.height - 2 * Margin);
        GUI.Label(area, _status);
    }

    #endregion

    #region The cases

    const float Margin = 20;

    /// <summary>All cases, one run per frame, so that the application stays alive.</summary>
    public IEnumerator Run()
    {
        var cases = 0;
        foreach (var model in models)
        {
            if (model == null) continue;
            foreach (var size in SizesOf(model))
            {
                foreach (var worker in workers)
                {
                    if (!CanUse(model, worker)) continue; // not on this machine

                    cases++;
                    var steps = RunCase(model, size, worker);
                    while (steps.MoveNext()) yield return null;
                }
            }
        }
        Finish(cases);
    }

    IEnumerable<Vector2Int> SizesOf(StyleTransferModel model)
      => model.FixedSize ? new[] { new Vector2Int(model.NominalWidth, model.NominalHeight) } : sizes;

    // A style that no engine of this project runs is a row with the reason.
    static bool CanUse(StyleTransferModel model, StyleTransferWorker worker)
    {
        string note = null;
        var engine = StyleTransferEngines.Find(model);
        if (engine != null) engine.Choose(worker, out note);
        return note == null;
    }

    IEnumerator RunCase(StyleTransferModel model, Vector2Int size, StyleTransferWorker worker)
    {
        var samples = new BenchmarkSamples(runs);
        var watch = new Stopwatch();
        _status = model.name + ", " + size.x + " x " + size.y + ", " + worker + " ...";
        _warmedUp = 0;
        yield return null; // shows the status

        var error = TryAllocateCase(model, size, worker);
        var began = Time.realtimeSinceStartup;
        while (error == null && !HasEnough(samples, began))
        {
            watch.Reset();
            watch.Start();
            error = TryPaint();
            watch.Stop();

            if (error != null) break;
            if (_warmedUp < warmupRuns && !IsLate(began))
                _warmedUp++;
            else
                samples.Add(watch.Elapsed.TotalMilliseconds);
            yield return null;
        }

        if (error != null) samples.Clear();
        Record(model, size, worker, samples, error ?? "");
        ReleaseCase();
    }

    bool IsLate(float began) => _warmedUp > 0 && Time.realtimeSinceStartup - began > secondsPerCase;

    bool HasEnough(BenchmarkSamples samples, float began)
      => samples.Count >= runs || (samples.Count >= FewestRuns && IsLate(began));

    // One picture, and waiting for the GPU: a pixel can only be read back after it has been drawn.
    string TryPaint()
    {
        try
        {
            _runner.Stylize(_source, _destination, 1);
            var before = RenderTexture.active;
            RenderTexture.active = _destination;
            _pixel.ReadPixels(new Rect(0, 0, _pixel.width, _pixel.height), 0, 0, false);
            RenderTexture.active = before;
            return null;
        }
        catch (Exception exception)
        {
            return exception.GetType().Name + ": " + exception.Message;
        }
    }

    #endregion

    #region Allocate / deallocate

    string TryAllocateCase(StyleTransferModel model, Vector2Int size, StyleTransferWorker worker)
    {
        try
        {
            _runner = new StyleTransferRunner(model, worker, convertShader);
            _runner.TargetHeight = size.y;
            _source = AllocateTexture(size);
            _destination = AllocateTexture(size);
            _pixel = new Texture2D(1, 1, TextureFormat.RGBA32, false, true);
            if (model.GoldenInput != null) Graphics.Blit(model.GoldenInput, _source);
            return null;
        }
        catch (Exception exception)
        {
            return exception.GetType().Name + ": " + exception.Message;
        }
    }

    static RenderTexture AllocateTexture(Vector2Int size)
    {
        var texture = new RenderTexture(size.x, size.y, 0, RenderTextureFormat.ARGB32, RenderTextureReadWrite.Default);
        texture.name = "Style Transfer Benchmark";
        texture.Create();
        return texture;
    }

    void ReleaseCase()
    {
        if (_pixel != null) Destroy(_pixel);
        _pixel = null;

        Release(_destination);
        _destination = null;

        Release(_source);
        _source = null;

        if (_runner != null) _runner.Dispose();
        _runner = null;
    }

    static void Release(RenderTexture texture)
    {
        if (texture == null) return;
        texture.Release();
        Destroy(texture);
    }

    #endregion

    #region The table

    void Record(StyleTransferModel model, Vector2Int size, StyleTransferWorker worker, BenchmarkSamples samples,
                string error)
    {
        var ran = _runner != null ? _runner.Size : default(WorkingSize);
        _table.Add(
            new[] { model.name, model.Source, model.SourceDigest, model.Target, worker.ToString() },
            new[] { size.x, size.y, ran.Width, ran.Height },
            _warmedUp, samples, error.Replace('\n', ' '),
            new[]
            {
                SystemInfo.graphicsDeviceName, SystemInfo.graphicsDeviceType.ToString(), SystemInfo.processorType,
                SystemInfo.operatingSystem, Application.unityVersion, NameEngine(model),
                Application.isEditor ? "editor" : Application.platform.ToString()
            });
        Write();
    }

    static string NameEngine(StyleTransferModel model)
    {
        var engine = StyleTransferEngines.Find(model);
        return engine != null ? engine.Name + " " + engine.Version : "";
    }

    // After each case: a driver that gives up takes only the last one with it.
    void Write()
    {
        try
        {
            File.WriteAllText(Path, _table.ToString());
        }
        catch (Exception exception) when (exception is IOException || exception is UnauthorizedAccessException)
        {
            _status = exception.Message;
        }
    }

    // The table is logged too, because a player in a browser has no folder to open.
    void Finish(int cases)
    {
        IsDone = true;
        if (cases == 0)
        {
            _status = "There is no style to time. Build one with pipeline build-unity, or assign styles to Models.";
            Debug.LogWarning("Style Transfer: " + _status, this);
            return;
        }

        _status = "Done. " + Path + "\n\n" + _table;
        Debug.Log("Style Transfer: timed " + cases + " cases, written to " + System.IO.Path.GetFullPath(Path) +
          "\n" + _table, this);
        if (quitWhenDone) Application.Quit();
    }

    #endregion
}

}
