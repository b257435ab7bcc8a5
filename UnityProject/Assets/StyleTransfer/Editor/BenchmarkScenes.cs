using System.Collections.Generic;
using UnityEditor;
using UnityEditor.Build;
using UnityEditor.Build.Reporting;
using UnityEditor.SceneManagement;
using UnityEngine;
using UnityEngine.SceneManagement;
using StyleTransfer.Benchmark;

namespace StyleTransfer.Editor
{

/// <summary>
/// Gives benchmarks without styles all styles of the project, when Play is pressed and when a player is built; and
/// opens the scene of the bundle.
/// </summary>
public sealed class BenchmarkScenes : IProcessSceneWithReport
{
    #region Public members

    /// <summary>The order among other processors of scenes.</summary>
    public int callbackOrder => 0;

    /// <summary>Called by Unity with a scene that is about to be played or built.</summary>
    public void OnProcessScene(Scene scene, BuildReport report)
    {
        foreach (var root in scene.GetRootGameObjects())
            foreach (var benchmark in root.GetComponentsInChildren<StyleTransferBenchmark>(true))
                if (benchmark.Models == null || benchmark.Models.Length == 0)
                    benchmark.Models = FindModels();
    }

    /// <summary>All styles of the project, by path.</summary>
    public static StyleTransferModel[] FindModels()
    {
        var paths = new List<string>(GoldenFrames.FindModelPaths());
        paths.Sort(string.CompareOrdinal);
        return paths.ConvertAll(path => AssetDatabase.LoadAssetAtPath<StyleTransferModel>(path)).ToArray();
    }

    /// <summary>Opens the benchmark scene; changes of the open one can be saved first.</summary>
    [MenuItem("Style Transfer/Open Benchmark Scene")]
    public static void Open()
    {
        foreach (var guid in AssetDatabase.FindAssets(SceneName + " t:Scene"))
        {
            if (EditorSceneManager.SaveCurrentModifiedScenesIfUserWantsTo())
                EditorSceneManager.OpenScene(AssetDatabase.GUIDToAssetPath(guid));
            return;
        }
        Debug.LogWarning("Style Transfer: the scene " + SceneName + " is not in this project.");
    }

    #endregion

    #region Private members

    const string SceneName = "StyleTransferBenchmark";

    #endregion
}

}
