using System;
using System.Collections.Generic;
using System.IO;
using UnityEditor;
using UnityEditor.Compilation;
using UnityEditor.PackageManager;
using UnityEditor.PackageManager.Requests;
using UnityEngine;

namespace StyleTransfer.Setup
{

/// <summary>
/// Warns, when the editor starts and when a style is imported, if the project lacks the package that its styles were
/// built for, has another one, or has two that conflict. It is in a separate assembly without references, so that it is
/// always compiled.
/// </summary>
public sealed class PackageCheck : AssetPostprocessor
{
    #region Public methods

    /// <summary>What is wrong with the packages of this project, with what to do; null where all is well.</summary>
    public static string FindProblem() => PackageAdvice.Find(FindPackages(), FindTargets());

    /// <summary>Adds the package that the styles of this project were built for, and says how that ended.</summary>
    [MenuItem(PackageAdvice.InstallMenu)]
    public static void Install()
    {
        var target = PackageAdvice.WantedTarget(FindTargets());
        if (target == null || s_Request != null) return;

        s_Package = PackageAdvice.PackageOf(target) + "@" + PackageAdvice.VersionOf(target);
        Debug.Log("Style Transfer: adding " + s_Package + " to the project.");
        s_Request = Client.Add(s_Package);
        EditorApplication.update += AwaitInstall;
    }

    /// <summary>The menu entry is grey where a package is there, or none is needed.</summary>
    [MenuItem(PackageAdvice.InstallMenu, true)]
    public static bool CanInstall()
      => s_Request == null && FindPackages().Count == 0 && PackageAdvice.WantedTarget(FindTargets()) != null;

    #endregion

    #region AssetPostprocessor implementation

    static void OnPostprocessAllAssets(string[] imported, string[] deleted, string[] moved, string[] movedFrom)
    {
        foreach (var path in imported)
        {
            if (Array.IndexOf(s_ModelExtensions, Path.GetExtension(path)) < 0) continue;
            Warn();
            return;
        }
    }

    #endregion

    #region Installing

    static AddRequest s_Request;
    static string s_Package;

    // Called by the editor until the package manager has answered. A success reloads scripts soon after.
    static void AwaitInstall()
    {
        if (!s_Request.IsCompleted) return;

        EditorApplication.update -= AwaitInstall;
        var request = s_Request;
        s_Request = null;

        if (request.Status == StatusCode.Success)
            Debug.Log("Style Transfer: " + s_Package + " was added.");
        else
            Debug.LogError("Style Transfer: " + s_Package + " could not be added: " +
              (request.Error != null ? request.Error.message : "the Package Manager gave no reason") +
              " Check the network connection, or add it by name in the Package Manager.");
    }

    #endregion

    #region Private members

    const string AssemblyName = "StyleTransfer.Setup";
    const string SaidKey = "StyleTransfer.PackageCheck.Said";

    static readonly string[] s_ModelExtensions = { ".onnx", ".sentis" };

    // Not in the load itself: the list of assemblies is not ready then.
    [InitializeOnLoadMethod]
    static void WarnWhenReady() => EditorApplication.delayCall += Warn;

    // Once per session for each problem, not at every reload of the scripts.
    static void Warn()
    {
        var problem = FindProblem() ?? "";
        if (problem == SessionState.GetString(SaidKey, "")) return;
        SessionState.SetString(SaidKey, problem);
        if (problem != "") Debug.LogWarning("Style Transfer: " + problem);
    }

    static Dictionary<string, string> FindPackages()
    {
        var found = new Dictionary<string, string>();
        foreach (var name in PackageAdvice.Packages)
        {
            var package = UnityEditor.PackageManager.PackageInfo.FindForAssetPath("Packages/" + name);
            if (package != null) found[name] = package.version;
        }
        return found;
    }

    static Dictionary<string, string> FindTargets()
    {
        var targets = new Dictionary<string, string>();
        var models = FindModelsFolder();
        if (models == null) return targets;

        foreach (var path in Directory.GetFiles(models, "*.asset", SearchOption.AllDirectories))
        {
            var target = PackageAdvice.ReadTarget(File.ReadAllText(path));
            if (target != null) targets[Path.GetFileNameWithoutExtension(path)] = target;
        }

        return targets;
    }

    // This assembly is in StyleTransfer/Editor/Setup, wherever in Assets StyleTransfer is.
    static string FindModelsFolder()
    {
        var definition = CompilationPipeline.GetAssemblyDefinitionFilePathFromAssemblyName(AssemblyName);
        if (definition == null) return null;
        var setup = Path.GetDirectoryName(definition);
        var models = Path.Combine(Path.GetDirectoryName(Path.GetDirectoryName(setup)), "Models");
        return Directory.Exists(models) ? models : null;
    }

    #endregion
}

}
