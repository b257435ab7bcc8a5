using UnityEditor;
using UnityEditorInternal;
using UnityEngine;

namespace StyleTransfer.Editor
{

/// <summary>
/// Shows a camera's style in the Scene view, in edit mode, where its field Preview In Scene View asks for it: the Scene
/// view's own camera gets a component with the same settings, which is in no scene and is never saved.
/// </summary>
static class SceneViewPreview
{
    #region Private members

    // Unity redraws the Scene view when something changes; a network may take several frames, and other changes are
    // not told.
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

    // Frees what the components hold before their code goes away.
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

    // As Unity decides for its own image effects: the view's menu of effects, and no wireframe.
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
