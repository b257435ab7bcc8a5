using System.Collections.Generic;
using StyleTransfer;
using UnityEditor;
using UnityEditor.Build;
using UnityEditor.Build.Reporting;
using UnityEngine.SceneManagement;

namespace StyleTransferDemo.Editor
{

/// <summary>
/// Lets the demo's camera choose from all styles of the project, when Play is pressed and when a player is built.
/// </summary>
public sealed class DemoStyles : IProcessSceneWithReport
{
    /// <summary>The order among other processors of scenes.</summary>
    public int callbackOrder => 0;

    /// <summary>Called by Unity with a scene that is about to be played or built.</summary>
    public void OnProcessScene(Scene scene, BuildReport report)
    {
        foreach (var root in scene.GetRootGameObjects())
        {
            foreach (var controls in root.GetComponentsInChildren<DemoControls>(true))
            {
                var camera = controls.GetComponent<StyleTransferCamera>();
                if (camera.Styles.Length == 0) camera.Styles = FindStyles();
            }
        }
    }

    static StyleTransferModel[] FindStyles()
    {
        var paths = new List<string>();
        foreach (var guid in AssetDatabase.FindAssets("t:" + typeof(StyleTransferModel).Name))
            paths.Add(AssetDatabase.GUIDToAssetPath(guid));
        paths.Sort(string.CompareOrdinal);
        return paths.ConvertAll(path => AssetDatabase.LoadAssetAtPath<StyleTransferModel>(path)).ToArray();
    }
}

}
