using System.Collections.Generic;
using System.IO;
using UnityEditor;
using UnityEditor.Compilation;
using UnityEditor.PackageManager;
using UnityEngine;

namespace StyleTransfer.Setup
{

/// <summary>
/// Warns, when the editor starts and when a style is imported, if the project lacks Barracuda or has another
/// version than its styles were built for. In an assembly of its own, which compiles without the package.
/// </summary>
public sealed class PackageCheck : AssetPostprocessor
{
    #region Public methods

    /// <summary>What is wrong with the packages of this project, with what to do; null where all is well.</summary>
    public static string FindProblem() => PackageAdvice.Find(InstalledTarget, HasSentis, FindTargets());

    /// <summary>Adds the package that the styles of this project were built for.</summary>
    [MenuItem(InstallMenu)]
    public static void Install()
    {
        var version = PackageAdvice.VersionOf(PackageAdvice.WantedTarget(FindTargets()));
        Debug.Log("Style Transfer: adding " + PackageAdvice.Package + " " + version + " to the project.");
        Client.Add(PackageAdvice.Package + "@" + version);
    }

    /// <summary>The menu entry is grey where the package is there.</summary>
    [MenuItem(InstallMenu, true)]
    public static bool CanInstall() => InstalledTarget == null;

    #endregion

    #region AssetPostprocessor implementation

    static void OnPostprocessAllAssets(string[] imported, string[] deleted, string[] moved, string[] movedFrom)
    {
        foreach (var path in imported)
        {
            if (!path.EndsWith(ModelExtension)) continue;
            Warn();
            return;
        }
    }

    #endregion

    #region Private members

    const string AssemblyName = "StyleTransfer.Setup";
    const string InstallMenu = "Style Transfer/Install Barracuda";
    const string ModelExtension = ".onnx";
    const string SaidKey = "StyleTransfer.PackageCheck.Said";

#if BARRACUDA_3_OR_NEWER
    const string InstalledTarget = "barracuda-3.0";
#elif BARRACUDA_2_OR_NEWER
    const string InstalledTarget = "barracuda-2.0";
#elif STYLETRANSFER_BARRACUDA
    const string InstalledTarget = "barracuda-1.0";
#else
    const string InstalledTarget = null;
#endif

#if STYLETRANSFER_SENTIS
    const bool HasSentis = true;
#else
    const bool HasSentis = false;
#endif

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

    // This assembly lies in StyleTransfer/Editor/Setup, wherever in Assets the user has put StyleTransfer.
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
