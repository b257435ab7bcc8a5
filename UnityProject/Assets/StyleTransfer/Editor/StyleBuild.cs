using System;
using System.Collections.Generic;
using System.IO;
using UnityEditor;
using UnityEngine;

namespace StyleTransfer.Editor
{

/// <summary>
/// Builds styles from trained networks inside the editor, by running <c>pipeline build-unity</c>.
/// </summary>
public static class StyleBuild
{
    #region Public methods

    /// <summary>Asks for a trained network, and builds a style from it.</summary>
    [MenuItem("Assets/Create/Style Transfer/Style from Trained Network...")]
    public static void CreateFromNetwork()
    {
        var source = EditorUtility.OpenFilePanel("A trained network", "", NetworkExtensions);
        if (string.IsNullOrEmpty(source)) return;

        var arguments = new List<string> { "build-unity", source, "--output", AssetsFolder };
        AddTarget(arguments, InstalledPackage.Target);

        Debug.Log("Style Transfer: building a style from " + source +
          ". A message in the console will say when it is finished.");
        new PipelineCommand(arguments, command => Report(command, source));
    }

    /// <summary>The arguments that build a style again.</summary>
    /// <param name="source">path of the trained network</param>
    /// <param name="assetPath">path of the style's asset in the project, from which the bundle's folder follows</param>
    /// <param name="target">what to build for; null leaves it to the pipeline</param>
    /// <param name="report">the report next to it; if null or without options, the defaults are used</param>
    public static List<string> RebuildArguments
      (string source, string assetPath, string target, StyleBuildReport report)
    {
        var arguments = new List<string> { "build-unity", source };
        arguments.Add("--name");
        arguments.Add(Path.GetFileNameWithoutExtension(assetPath));
        arguments.Add("--output");
        arguments.Add(BundleParent(assetPath));
        AddTarget(arguments, target);
        if (report != null && report.rebuild != null) arguments.AddRange(report.rebuild);
        return arguments;
    }

    /// <summary>The report that the pipeline wrote next to a style's asset; null if there is none.</summary>
    public static StyleBuildReport ReadReport(string assetPath)
    {
        if (string.IsNullOrEmpty(assetPath)) return null; // no asset yet
        var path = Path.Combine(Path.GetDirectoryName(assetPath), "report.json");
        return File.Exists(path) ? StyleBuildReport.Parse(File.ReadAllText(path)) : null;
    }

    /// <summary>
    /// The file that a style was built from: remembered, or selected by the user. Empty if the user cancels.
    /// </summary>
    public static string FindSource(StyleTransferModel asset)
    {
        var source = PipelinePreferences.GetSource(asset.SourceDigest);
        if (source != "" && File.Exists(source)) return source;

        source = EditorUtility.OpenFilePanel("Where is " + asset.Source + "?", "", NetworkExtensions);
        if (string.IsNullOrEmpty(source)) return "";
        PipelinePreferences.SetSource(asset.SourceDigest, source);
        return source;
    }

    /// <summary>The folder that contains StyleTransfer/, from the path of a style's asset.</summary>
    /// <exception cref="InvalidOperationException">the asset was moved out of the bundle</exception>
    public static string BundleParent(string assetPath)
    {
        var folders = assetPath.Replace('\\', '/').Split('/');
        var root = folders.Length - DepthInBundle;
        if (root < 1 || folders[root] != RootFolder || folders[root + 1] != ModelsFolder)
            throw new InvalidOperationException("The style was moved out of " + RootFolder + "/" + ModelsFolder +
              "/, so a new build would not replace it. Move its folder back there.");
        return string.Join("/", folders, 0, root);
    }

    #endregion

    #region Private members

    const string AssetsFolder = "Assets";
    const string RootFolder = "StyleTransfer";
    const string ModelsFolder = "Models";

    // StyleTransfer/Models/<Name>/<Name>.asset
    const int DepthInBundle = 4;

    const string NetworkExtensions = "pth,pt,model,pt2,safetensors,h5,onnx";

    // Without an engine in the project, the pipeline decides.
    static void AddTarget(List<string> arguments, string target)
    {
        if (target == null) return;
        arguments.Add("--target");
        arguments.Add(target);
    }

    static void Report(PipelineCommand command, string source)
    {
        if (command.ExitCode != 0)
        {
            Debug.LogError("Style Transfer: no style was built from " + source + ". " + command.Messages);
            return;
        }

        AssetDatabase.Refresh();
        Debug.Log("Style Transfer: built a style from " + source + ".\n" + command.Messages);
    }

    #endregion
}

}
