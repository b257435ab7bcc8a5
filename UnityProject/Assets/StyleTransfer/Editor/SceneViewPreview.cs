using UnityEditor;
using UnityEditorInternal;
using UnityEngine;

namespace StyleTransfer.Editor
{

/// <summary>
/// Shows a camera's style in the Scene view, in edit mode, if its Preview In Scene View is on: the Scene view's own
/// camera gets a component with the same settings, which belongs to no scene and is never saved.
/// </summary>
static class SceneViewPreview
{
    #region Private members

    // Unity redraws the Scene view when something changes; a network may take several frames, and there is no event for
    // other changes.
    const double SecondsBetweenRedraws = 0.1;

    static bool s_Shows;
    static double s_LastRedraw;

    [InitializeOnLoadMethod]
    static void Watch()
    {
        EditorApplication.update += Update;
        AssemblyReloadEvents.beforeAssemblyReload += Release;
    }

    static void Update()
    {
        var source = Application.isPlaying ? null : StyleTransferCamera.ForSceneView;
        if (source == null && !s_Shows) return;

        s_Shows = Follow(source);
        if (s_Shows && InternalEditorUtility.isApplicationActive) Redraw();
    }

    // Frees the resources of the components before their code is unloaded.
    static void Release() => s_Shows = Follow(null);

    // Whether any Scene view shows the style.
    static bool Follow(StyleTransferCamera source)
    {
        var shows = false;
        foreach (SceneView view in SceneView.sceneViews)
            shows |= Follow(view, source);
        return shows;
    }

    static bool Follow(SceneView view, StyleTransferCamera source)
    {
        var eye = view.camera;
        if (eye == null) return false;

        var copy = eye.GetComponent<StyleTransferCamera>();
        if (source == null || !ShowsEffects(view) || (copy != null && copy.GetType() != source.GetType()))
        {
            if (copy != null) Object.DestroyImmediate(copy);
            return false;
        }

        if (copy == null) copy = (StyleTransferCamera)eye.gameObject.AddComponent(source.GetType());
        EditorUtility.CopySerializedIfDifferent(source, copy);
        copy.hideFlags = HideFlags.HideAndDontSave;
        return true;
    }

    // The same conditions as for Unity's own image effects: enabled in the view's toolbar, and not in wireframe mode.
    static bool ShowsEffects(SceneView view)
      => view.cameraMode.drawMode == DrawCameraMode.Textured && view.sceneViewState.showImageEffects;

    // The player loop calls LateUpdate, where networks run in URP and HDRP.
    static void Redraw()
    {
        var now = EditorApplication.timeSinceStartup;
        if (now - s_LastRedraw < SecondsBetweenRedraws) return;
        s_LastRedraw = now;
        EditorApplication.QueuePlayerLoopUpdate();
        SceneView.RepaintAll();
    }

    #endregion
}

}
