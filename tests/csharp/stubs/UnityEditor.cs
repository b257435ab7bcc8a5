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
}

}

namespace UnityEditor
{

[AttributeUsage(AttributeTargets.Class)]
public class CustomEditor : Attribute { public CustomEditor(Type inspectedType) {} }

[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
public sealed class MenuItem : Attribute { public MenuItem(string itemName) {} }

public enum MessageType { None = 0, Info = 1, Warning = 2, Error = 3 }

public class Editor : ScriptableObject
{
    public Object target { get; set; }
    public virtual void OnInspectorGUI() {}
    public bool DrawDefaultInspector() { return false; }
}

public sealed class EditorGUILayout
{
    public static void LabelField(string label, string label2, params GUILayoutOption[] options) {}
    public static void HelpBox(string message, MessageType type) {}
    public static void Space() {}
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
        if (filter != "t:StyleTransferModel") throw new Exception("unexpected filter " + filter);
        var guids = new string[Stub.Assets.All.Count];
        for (var i = 0; i < guids.Length; i++) guids[i] = i.ToString();
        return guids;
    }

    public static string GUIDToAssetPath(string guid) { return "Assets/" + guid; }

    public static T LoadAssetAtPath<T>(string assetPath) where T : Object
    {
        return Stub.Assets.All[int.Parse(assetPath.Substring("Assets/".Length))] as T;
    }
}

public sealed class EditorApplication
{
    public static void Exit(int returnValue) { Stub.World.ExitCode = returnValue; }
}

}
