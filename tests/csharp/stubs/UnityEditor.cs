// Signatures of the part of UnityEditor (2019.4 and later) that the generated C# uses, written by hand from its
// documentation.

using System;
using System.Collections.Generic;
using UnityEngine;
using Object = UnityEngine.Object;

namespace Stub
{

public static class Assets
{
    public static readonly List<Object> All = new List<Object>();

    // Paths of assets that are files here.
    public static readonly Dictionary<Object, string> Paths = new Dictionary<Object, string>();
    public static int Refreshes;
    public static string ChosenFile = "";
}

}

namespace UnityEditor
{

[AttributeUsage(AttributeTargets.Class)]
public class CustomEditor : Attribute
{
    public CustomEditor(Type inspectedType) {}
    public CustomEditor(Type inspectedType, bool editorForChildClasses) {}
}

[AttributeUsage(AttributeTargets.Class)]
public class CanEditMultipleObjects : Attribute {}

[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
public sealed class MenuItem : Attribute
{
    public MenuItem(string itemName) {}
    public MenuItem(string itemName, bool isValidateFunction) {}
}

[AttributeUsage(AttributeTargets.Method)]
public class InitializeOnLoadMethodAttribute : Attribute {}

[AttributeUsage(AttributeTargets.Method)]
public sealed class SettingsProviderAttribute : Attribute {}

public enum SettingsScope { User = 0, Project = 1 }

public class SettingsProvider
{
    public SettingsProvider(string path, SettingsScope scopes, IEnumerable<string> keywords = null) {}
    public IEnumerable<string> keywords { get; set; }
    public Action<string> guiHandler { get; set; }
}

public class AssetPostprocessor {}

public class EditorPrefs
{
    static readonly Dictionary<string, string> s_Values = new Dictionary<string, string>();

    public static string GetString(string key, string defaultValue)
    {
        string value;
        return s_Values.TryGetValue(key, out value) ? value : defaultValue;
    }

    public static void SetString(string key, string value) { s_Values[key] = value; }
}

public static class SessionState
{
    static readonly Dictionary<string, string> s_Values = new Dictionary<string, string>();

    public static string GetString(string key, string defaultValue)
    {
        string value;
        return s_Values.TryGetValue(key, out value) ? value : defaultValue;
    }

    public static void SetString(string key, string value) { s_Values[key] = value; }
}

public sealed class EditorUtility
{
    public static string OpenFilePanel(string title, string directory, string extension)
    {
        Stub.World.Logs.Add("asked " + title);
        return Stub.Assets.ChosenFile;
    }
    public static void SetDirty(Object target) {}

    public static void CopySerializedIfDifferent(Object source, Object dest)
    {
        if (source.GetType() != dest.GetType()) throw new System.Exception("of different types");
        const System.Reflection.BindingFlags flags = System.Reflection.BindingFlags.Instance |
            System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.DeclaredOnly;
        for (var type = source.GetType(); type != null; type = type.BaseType)
            foreach (var field in type.GetFields(flags))
                if (field.IsDefined(typeof(SerializeField), false)) field.SetValue(dest, field.GetValue(source));
    }
}

public static class AssemblyReloadEvents
{
    public delegate void AssemblyReloadCallback();

    public static event AssemblyReloadCallback beforeAssemblyReload;
    internal static void StubReload() { if (beforeAssemblyReload != null) beforeAssemblyReload(); }
}

public class EditorWindow : ScriptableObject {}

public class SearchableEditorWindow : EditorWindow {}

public enum DrawCameraMode { Textured = 0, Wireframe = 1, TexturedWire = 2 }

public class SceneView : SearchableEditorWindow
{
    public struct CameraMode { public DrawCameraMode drawMode; }

    public class SceneViewState { public bool showImageEffects = true; }

    static readonly System.Collections.ArrayList s_Views = new System.Collections.ArrayList();
    readonly SceneViewState m_State = new SceneViewState();

    public static System.Collections.ArrayList sceneViews { get { return s_Views; } }
    public Camera camera { get; internal set; }
    public CameraMode cameraMode { get; set; }
    public SceneViewState sceneViewState { get { return m_State; } set {} }
    internal static int repaints;
    public static void RepaintAll() { repaints++; }
}

public enum MessageType { None = 0, Info = 1, Warning = 2, Error = 3 }

public class Editor : ScriptableObject
{
    public Object target { get; set; }
    public Object[] targets { get { return new[] { target }; } }
    public virtual void OnInspectorGUI() {}
    public virtual Texture2D RenderStaticPreview(string assetPath, Object[] subAssets, int width, int height) { return null; }
    public bool DrawDefaultInspector() { return false; }
    public virtual bool RequiresConstantRepaint() { return false; }
    public void Repaint() { Stub.World.Logs.Add("repaint"); }
}

public sealed class EditorGUILayout
{
    public static void LabelField(string label, string label2, params GUILayoutOption[] options) { Stub.World.Logs.Add("field " + label + ": " + label2); }
    public static void HelpBox(string message, MessageType type) { Stub.World.Logs.Add("box " + type + " " + message); }
    public static void Space() {}
    public static string DelayedTextField(string label, string text, params GUILayoutOption[] options) { return text; }
    public static bool Foldout(bool foldout, string content) { return foldout; }
}

public sealed class EditorGUI
{
    public static void BeginDisabledGroup(bool disabled) {}
    public static void EndDisabledGroup() {}
    public static void DrawPreviewTexture(Rect position, Texture image) {}
}

public sealed class AssetDatabase
{
    public static string[] FindAssets(string filter)
    {
        if (filter == "StyleTransferBenchmark t:Scene") return new[] { "benchmark" };
        if (filter != "t:StyleTransferModel") throw new Exception("unexpected filter " + filter);
        var guids = new string[Stub.Assets.All.Count];
        for (var i = 0; i < guids.Length; i++) guids[i] = i.ToString();
        return guids;
    }

    public static string GetAssetPath(Object assetObject)
    {
        if (ReferenceEquals(assetObject, null)) return "";
        foreach (var pair in Stub.Assets.Paths) if (ReferenceEquals(pair.Key, assetObject)) return pair.Value;
        return "Assets/" + Stub.Assets.All.IndexOf(assetObject);
    }

    public static void Refresh() { Stub.Assets.Refreshes++; }

    public static string GUIDToAssetPath(string guid) { return "Assets/" + guid; }

    public static T LoadAssetAtPath<T>(string assetPath) where T : Object
    {
        return Stub.Assets.All[int.Parse(assetPath.Substring("Assets/".Length))] as T;
    }
}

public sealed class EditorApplication
{
    public delegate void CallbackFunction();

    public static CallbackFunction update;
    public static CallbackFunction delayCall;
    internal static int locks;

    public static double timeSinceStartup { get; internal set; }
    internal static int loops;
    public static void QueuePlayerLoopUpdate() { loops++; }
    public static void LockReloadAssemblies() { locks++; }
    public static void UnlockReloadAssemblies() { locks--; }
    public static void Exit(int returnValue) { Stub.World.ExitCode = returnValue; }
}

}

namespace UnityEditorInternal
{

public sealed class InternalEditorUtility
{
    public static bool isApplicationActive { get; internal set; }
}

}

namespace UnityEditor.Compilation
{

public static class CompilationPipeline
{
    internal static string definition;

    public static string GetAssemblyDefinitionFilePathFromAssemblyName(string assemblyName) { return definition; }
}

}

namespace UnityEditor.PackageManager
{

public enum StatusCode { InProgress = 0, Success = 1, Failure = 2 }

public class Error { internal Error() {} public string message { get; internal set; } }

public class PackageInfo
{
    internal PackageInfo() {}

    // Name and version of each package of the project.
    internal static readonly Dictionary<string, string> Installed = new Dictionary<string, string>();

    public string version { get; internal set; }

    public static PackageInfo FindForAssetPath(string assetPath)
    {
        foreach (var pair in Installed)
            if (assetPath == "Packages/" + pair.Key) return new PackageInfo { version = pair.Value };
        return null;
    }
}

namespace Requests
{

public abstract class Request
{
    internal Request() {}

    public StatusCode Status { get; internal set; }
    public bool IsCompleted { get { return Status != StatusCode.InProgress; } }
    public Error Error { get; internal set; }
}

public sealed class AddRequest : Request { internal AddRequest() {} }

}

public static class Client
{
    internal static Requests.AddRequest Last;

    public static Requests.AddRequest Add(string identifier)
    {
        Stub.World.Logs.Add("package " + identifier);
        return Last = new Requests.AddRequest();
    }
}

}

namespace UnityEditor.Build
{

public interface IOrderedCallback { int callbackOrder { get; } }

public interface IProcessSceneWithReport : IOrderedCallback
{
    void OnProcessScene(UnityEngine.SceneManagement.Scene scene, Reporting.BuildReport report);
}

namespace Reporting { public sealed class BuildReport : Object {} }

}

namespace UnityEditor.SceneManagement
{

public enum OpenSceneMode { Single = 0, Additive = 1 }

public sealed class EditorSceneManager
{
    public static bool SaveCurrentModifiedScenesIfUserWantsTo() { return true; }

    public static UnityEngine.SceneManagement.Scene OpenScene(string scenePath, OpenSceneMode mode = OpenSceneMode.Single)
    {
        Stub.World.Logs.Add("opened " + scenePath);
        return default(UnityEngine.SceneManagement.Scene);
    }
}

}
