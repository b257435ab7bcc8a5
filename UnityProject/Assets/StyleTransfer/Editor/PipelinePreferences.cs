using System.Collections.Generic;
using UnityEditor;

namespace StyleTransfer.Editor
{

/// <summary>
/// The paths of the command line tool <c>pipeline</c> and of the styles' sources on this computer. Stored in the
/// user's preferences, not in the project.
/// </summary>
public static class PipelinePreferences
{
    #region Public members

    /// <summary>Where the user finds these settings.</summary>
    public const string Place = "Preferences > Style Transfer";

    /// <summary>
    /// The tool, or a Python that has it installed. A full path is safest: an editor that was started from the
    /// desktop does not see the PATH of a shell.
    /// </summary>
    public static string Command
    {
        get
        {
            var command = EditorPrefs.GetString(CommandKey, DefaultCommand);
            return command.Trim().Length > 0 ? command.Trim() : DefaultCommand;
        }
        set => EditorPrefs.SetString(CommandKey, value);
    }

    /// <summary>The path of the file with this digest; empty where it is not known on this computer.</summary>
    public static string GetSource(string digest) => EditorPrefs.GetString(SourceKey + digest, "");

    /// <summary>Remembers the path of the file with this digest.</summary>
    public static void SetSource(string digest, string path) => EditorPrefs.SetString(SourceKey + digest, path);

    #endregion

    #region Settings page

    const string DefaultCommand = "pipeline";
    const string CommandKey = "StyleTransfer.Pipeline.Command";
    const string SourceKey = "StyleTransfer.Pipeline.Source.";
    const string PagePath = "Preferences/Style Transfer";

    [SettingsProvider]
    static SettingsProvider CreatePage()
    {
        var page = new SettingsProvider(PagePath, SettingsScope.User);
        page.keywords = new HashSet<string> { "pipeline", "style", "ONNX" };
        page.guiHandler = search => DrawPage();
        return page;
    }

    static void DrawPage()
    {
        EditorGUILayout.HelpBox("The command line tool of the style transfer pipeline, or a Python that has it " +
          "installed. Enter a full path if the editor does not find it.", MessageType.None);

        var before = Command;
        var after = EditorGUILayout.DelayedTextField("Pipeline command", before);
        if (after != before) Command = after;
    }

    #endregion
}

}
