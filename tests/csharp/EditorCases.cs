// Puts the editor side of a bundle to questions from Python. The first argument is the question:
//   echo WORD...             the words that a real process got from PipelineCommand.Join, one a line
//   run COMMAND WORD...      runs COMMAND as PipelineCommand does; prints exit code, output, messages, locks
//   arguments COMMAND WORD   what COMMAND is started with
//   validation               reads the JSON of pipeline validate from stdin
//   report                   reads a report.json from stdin
//   rebuild SOURCE ASSET TARGET   the words that build a style again, with the report.json of stdin
//   advice PACKAGE=VERSION... - NAME=TARGET...   what is wrong with the packages of a project
//   target                   reads an .asset from stdin
//   check FOLDER PACKAGE=VERSION...   what PackageCheck says of StyleTransfer/ in FOLDER, and what it logs in three reloads
//   inspector TOOL ASSET [DO]...     draws the inspector of an asset at this path, with TOOL as the pipeline, after each
//                                    DO: a button's name, "wait" for a running command, or source=FILE to be chosen
//   icon WIDTH HEIGHT SIZE           the icon of a style whose picture has red = column, green = row: its corners
//   install FOLDER STATUS PACKAGE=VERSION...   what PackageCheck installs there, ending with this status

using System;
using System.Collections.Generic;
using System.IO;
using System.Reflection;
using System.Threading;
using StyleTransfer.Editor;
using StyleTransfer.Setup;
using UnityEditor;

public static class EditorCases
{
    public static int Main(string[] arguments)
    {
        var words = new List<string>(arguments);
        var question = words[0];
        words.RemoveAt(0);
        switch (question)
        {
            case "words": foreach (var word in words) Console.WriteLine(word); return 0;
            case "echo": return Echo(words);
            case "run": return Run(words);
            case "arguments": Console.WriteLine(PipelineCommand.Arguments(words[0], words.GetRange(1, words.Count - 1))); return 0;
            case "validation": return Validation(ValidationReport.Parse(Console.In.ReadToEnd()));
            case "report": return Findings(StyleBuildReport.Parse(Console.In.ReadToEnd()));
            case "rebuild": return Rebuild(words[0], words[1], words[2] == "-" ? null : words[2]);
            case "advice": return Advice(words);
            case "target": Console.WriteLine(PackageAdvice.ReadTarget(Console.In.ReadToEnd()) ?? "null"); return 0;
            case "check": return Check(words);
            case "icon": return Icon(int.Parse(words[0]), int.Parse(words[1]), int.Parse(words[2]));
            case "inspector": return Inspect(words);
            case "install": return Install(words);
        }
        return 64;
    }

    static int Echo(List<string> words)
    {
        var program = Assembly.GetExecutingAssembly().Location;
        words.InsertRange(0, new[] { program, "words" });
        return Start("mono", words);
    }

    static int Run(List<string> words) => Start(words[0], words.GetRange(1, words.Count - 1));

    static int Start(string command, List<string> words)
    {
        PipelinePreferences.Command = command;
        PipelineCommand ended = null;
        var started = new PipelineCommand(words, finished => ended = finished);
        Console.Error.WriteLine("locks " + EditorApplicationLocks());
        while (ended == null)
        {
            if (EditorApplication.update != null) EditorApplication.update();
            Thread.Sleep(1);
        }
        if (started.IsRunning || EditorApplication.update != null) return 70;
        Console.Write(ended.Output);
        Console.Error.Write(ended.Messages);
        Console.Error.WriteLine("locks " + EditorApplicationLocks());
        Console.Error.WriteLine("exit " + ended.ExitCode);
        return 0;
    }

    static int EditorApplicationLocks() => EditorApplication.locks;

    static int Validation(ValidationReport report)
    {
        if (report == null) { Console.WriteLine("null"); return 0; }
        var verdict = report.files[0];
        Console.WriteLine(verdict.verdict + "\t" + verdict.summary + "\t" + verdict.error.code + "\t" + verdict.error.remedy);
        foreach (var finding in verdict.findings) Print(finding);
        return 0;
    }

    static int Findings(StyleBuildReport report)
    {
        if (report == null) { Console.WriteLine("null"); return 0; }
        Console.WriteLine(string.Join(" ", report.rebuild));
        foreach (var finding in report.findings) Print(finding);
        return 0;
    }

    static void Print(PipelineFinding finding) => Console.WriteLine
      (finding.code + "\t" + finding.severity + "\t" + finding.node + "\t" + finding.reason + "\t" + finding.fix);

    static int Rebuild(string source, string asset, string target)
    {
        try
        {
            var report = StyleBuildReport.Parse(Console.In.ReadToEnd());
            foreach (var word in StyleBuild.RebuildArguments(source, asset, target, report)) Console.WriteLine(word);
        }
        catch (InvalidOperationException exception)
        {
            Console.WriteLine("refused: " + exception.Message);
        }
        return 0;
    }

    // Words with "=" before the first without.
    static Dictionary<string, string> ReadPairs(List<string> words)
    {
        var pairs = new Dictionary<string, string>();
        while (words.Count > 0)
        {
            var parts = words[0].Split('=');
            words.RemoveAt(0);
            if (parts.Length < 2) break;
            pairs[parts[0]] = parts[1];
        }
        return pairs;
    }

    static int Advice(List<string> words)
    {
        var installed = ReadPairs(words);
        Console.WriteLine(PackageAdvice.Find(installed, ReadPairs(words)) ?? "null");
        return 0;
    }

    static void Install(Dictionary<string, string> packages)
    {
        foreach (var pair in packages) UnityEditor.PackageManager.PackageInfo.Installed.Add(pair.Key, pair.Value);
    }

    static void Place(string folder)
    {
        UnityEditor.Compilation.CompilationPipeline.definition =
          folder == "-" ? null : Path.Combine(folder, "StyleTransfer/Editor/Setup/StyleTransfer.Setup.asmdef");
    }

    static int Check(List<string> words)
    {
        Place(words[0]);
        Install(ReadPairs(words.GetRange(1, words.Count - 1)));
        Console.WriteLine(PackageCheck.FindProblem() ?? "null");
        const BindingFlags flags = BindingFlags.Static | BindingFlags.NonPublic;
        for (var reload = 0; reload < 3; reload++)
        {
            typeof(PackageCheck).GetMethod("WarnWhenReady", flags).Invoke(null, null);
            EditorApplication.delayCall();
            EditorApplication.delayCall = null;
        }
        var imported = new object[] { new[] { "Assets/a.png", "Assets/b.onnx" }, null, null, null };
        typeof(PackageCheck).GetMethod("OnPostprocessAllAssets", flags).Invoke(null, imported);
        foreach (var line in Stub.World.Logs) Console.WriteLine(line);
        return 0;
    }

    static int Icon(int width, int height, int size)
    {
        var style = UnityEngine.ScriptableObject.CreateInstance<StyleTransfer.StyleTransferModel>();
        var editor = MakeInspector(style);
        if (editor.RenderStaticPreview("", null, size, size) != null) return 72;

        var picture = new UnityEngine.Texture2D(width, height, UnityEngine.TextureFormat.RGBA32, false, false);
        var pixels = new UnityEngine.Color32[width * height];
        for (var i = 0; i < pixels.Length; i++)
            pixels[i] = new UnityEngine.Color32((byte)(i % width), (byte)(i / width), 0, 255);
        picture.SetPixels32(pixels);
        picture.Apply(false);
        Stub.Reflect.Set(style, "goldenOutput", picture);

        var icon = editor.RenderStaticPreview("", null, size, size);
        var drawn = icon.GetPixels32();
        Console.WriteLine(icon.width + " " + icon.height);
        Console.WriteLine(drawn[0].r + " " + drawn[0].g);
        Console.WriteLine(drawn[drawn.Length - 1].r + " " + drawn[drawn.Length - 1].g);
        UnityEngine.Object.DestroyImmediate(icon);
        UnityEngine.Object.DestroyImmediate(picture);
        Console.WriteLine("alive " + Stub.Live.Leaks());

        UnityEngine.SystemInfo.graphicsDeviceType = UnityEngine.Rendering.GraphicsDeviceType.Null;
        return editor.RenderStaticPreview("", null, size, size) == null ? 0 : 73;
    }

    static Editor MakeInspector(StyleTransfer.StyleTransferModel style)
    {
        var type = typeof(StyleBuild).Assembly.GetType("StyleTransfer.Editor.StyleTransferModelEditor");
        var editor = (Editor)Activator.CreateInstance(type, true);
        editor.target = style;
        Stub.Reflect.Send(editor, "OnEnable");
        return editor;
    }

    static int Inspect(List<string> words)
    {
        PipelinePreferences.Command = words[0];
        var style = UnityEngine.ScriptableObject.CreateInstance<StyleTransfer.StyleTransferModel>();
        var network = UnityEngine.ScriptableObject.CreateInstance<FakeAsset>();
        StyleTransfer.StyleTransferEngines.Register(new FakeEngine());
        var values = new Dictionary<string, object>
        {
            { "model", network }, { "displayName", "Candy" }, { "source", "candy.pth" }, { "sourceDigest", "d1" },
            { "architecture", "a" }, { "target", "other-9" }, { "weights", 1234 }, { "fileBytes", 2500000 }
        };
        foreach (var pair in values) Stub.Reflect.Set(style, pair.Key, pair.Value);
        Stub.Assets.Paths[style] = words[1];
        Stub.Assets.Paths[network] = words[1].Replace(".asset", ".onnx");

        var editor = MakeInspector(style);
        Draw(editor);

        foreach (var word in words.GetRange(2, words.Count - 2))
        {
            Console.WriteLine("--- " + word);
            if (word.StartsWith("source=")) { Stub.Assets.ChosenFile = word.Substring("source=".Length); continue; }
            if (word == "close") { Stub.Reflect.Send(editor, "OnDisable"); UnityEngine.Object.DestroyImmediate(editor); continue; }
            if (word == "wait")
                while (EditorApplication.update != null) { EditorApplication.update(); Thread.Sleep(1); }
            else
                UnityEngine.GUILayout.pressed = word;
            if (editor != null) Draw(editor);
            if (UnityEngine.GUILayout.pressed != null) return 71;
        }
        Console.WriteLine("refreshed " + Stub.Assets.Refreshes + ", locks " + EditorApplicationLocks());
        return 0;
    }

    static void Draw(Editor editor)
    {
        Stub.World.Logs.Clear();
        try
        {
            editor.OnInspectorGUI();
        }
        catch (UnityEngine.ExitGUIException)
        {
            Console.WriteLine("left");
            Draw(editor);
            return;
        }
        foreach (var line in Stub.World.Logs) Console.WriteLine(line.Trim());
    }

    static int Install(List<string> words)
    {
        Place(words[0]);
        Install(ReadPairs(words.GetRange(2, words.Count - 2)));
        Console.WriteLine(PackageCheck.CanInstall());
        if (!PackageCheck.CanInstall()) return 0;

        PackageCheck.Install();
        EditorApplication.update();
        Stub.World.Logs.Add("waiting");
        Stub.World.Logs.Add(PackageCheck.CanInstall().ToString());

        var request = UnityEditor.PackageManager.Client.Last;
        request.Error = new UnityEditor.PackageManager.Error { message = "offline." };
        request.Status = (UnityEditor.PackageManager.StatusCode)Enum.Parse(typeof(UnityEditor.PackageManager.StatusCode), words[1]);
        EditorApplication.update();
        if (EditorApplication.update != null) return 74;
        foreach (var line in Stub.World.Logs) Console.WriteLine(line);
        Console.WriteLine(PackageCheck.CanInstall());
        return 0;
    }
}
