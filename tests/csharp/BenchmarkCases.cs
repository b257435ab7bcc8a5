// Puts the benchmark scene's code to questions from Python; part of Cases.exe.
//   Cases.exe benchmark samples           reads "share time time ..." lines, writes "percentile minimum mean count"
//   Cases.exe benchmark run FILE SECONDS  runs a benchmark of two styles with a clock that goes on by SECONDS a frame,
//                                         writes the table to FILE, prints what the console got
//   Cases.exe benchmark broken FILE       the same with a network that throws
//   Cases.exe benchmark left FILE         the same, left after four frames
//   Cases.exe benchmark scene             fills a scene's benchmarks

using System;
using System.Collections.Generic;
using System.Globalization;
using StyleTransfer;
using StyleTransfer.Benchmark;
using StyleTransfer.Editor;
using UnityEngine;

public static class BenchmarkCases
{
    public static int Answer(List<string> words)
    {
        switch (words[0])
        {
            case "samples": return Samples();
            case "scene": return FillScene();
            default: return Run(words);
        }
    }

    static int Samples()
    {
        string line;
        while ((line = Console.ReadLine()) != null)
        {
            var numbers = Array.ConvertAll(line.Split(' '), text => double.Parse(text, CultureInfo.InvariantCulture));
            var samples = new BenchmarkSamples(numbers.Length - 1);
            for (var i = 1; i < numbers.Length; i++) samples.Add(numbers[i]);
            Console.WriteLine(string.Join(" ", Array.ConvertAll(
                new[] { samples.Percentile(numbers[0]), samples.Minimum, samples.Mean, samples.Count },
                number => number.ToString("R", CultureInfo.InvariantCulture))));
        }
        return 0;
    }

    static int Run(List<string> words)
    {
        Fixture.Reset();
        Stub.Networks.Broken = words[0] == "broken";
        StyleTransferModel plain = Fixture.Style(), named = Fixture.Style(), fixedSize = Fixture.Style();
        plain.name = "Candy";
        named.name = "Rain, \"heavy\"";
        fixedSize.name = "Fixed";
        Stub.Reflect.Set(fixedSize, "fixedSize", true);
        plain.GoldenInputForTests(Fixture.Picture(8, 8));

        var benchmark = new StyleTransferBenchmark();
        Stub.Reflect.Set(benchmark, "models", new[] { plain, null, named, fixedSize });
        Stub.Reflect.Set(benchmark, "sizes", new[] { new Vector2Int(64, 48), new Vector2Int(32, 18) });
        Stub.Reflect.Set(benchmark, "warmupRuns", 2);
        Stub.Reflect.Set(benchmark, "runs", 7);
        Stub.Reflect.Set(benchmark, "secondsPerCase", 10f);
        Stub.Reflect.Set(benchmark, "fileName", words[1]);
        Stub.Reflect.Set(benchmark, "quitWhenDone", true);
        Stub.Reflect.Set(benchmark, "convertShader", Shader.Find(StyleTransferRunner.ConvertShaderName));

        var step = words.Count > 2 ? float.Parse(words[2], CultureInfo.InvariantCulture) : 0;
        var frames = 0;
        for (var steps = benchmark.Run(); steps.MoveNext(); frames++)
        {
            Time.now += step;
            if (words[0] == "left" && frames == 4) break;
        }
        Stub.Reflect.Send(benchmark, "OnDisable");

        Console.WriteLine("frames " + frames + " done " + benchmark.IsDone);
        plain.FreeForTests();
        Console.WriteLine("alive " + Stub.Live.Leaks());
        foreach (var line in Stub.World.Logs) Console.WriteLine(line.Split('\n')[0]);
        return 0;
    }

    static void GoldenInputForTests(this StyleTransferModel model, RenderTexture picture)
    {
        var pixels = new Texture2D(picture.width, picture.height, TextureFormat.RGBA32, false, true);
        Stub.Reflect.Set(model, "goldenInput", pixels);
        Fixture.Free(picture);
    }

    static void FreeForTests(this StyleTransferModel model) => UnityEngine.Object.DestroyImmediate(model.GoldenInput);

    static int FillScene()
    {
        Fixture.Reset();
        StyleTransferModel first = Fixture.Style(), second = Fixture.Style();
        Stub.Assets.All.Add(first);
        Stub.Assets.All.Add(second);

        StyleTransferBenchmark empty = new StyleTransferBenchmark(), chosen = new StyleTransferBenchmark();
        chosen.Models = new[] { second };
        var root = new GameObject();
        root.components.Add(empty);
        root.components.Add(chosen);
        var scene = new UnityEngine.SceneManagement.Scene { roots = new[] { new GameObject(), root } };
        new BenchmarkScenes().OnProcessScene(scene, null);
        Console.WriteLine(empty.Models.Length + " " + chosen.Models.Length);
        BenchmarkScenes.Open();
        foreach (var line in Stub.World.Logs) Console.WriteLine(line);
        return 0;
    }
}
