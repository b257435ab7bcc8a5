using System;
using System.Globalization;
using UnityEditor;
using UnityEngine;
using UnityEngine.Rendering;

namespace StyleTransfer.Editor
{

/// <summary>
/// Shows what a style costs, an example of its output, the validator's findings in its network, and whether it
/// computes the same here as where it was built.
/// </summary>
[CustomEditor(typeof(StyleTransferModel))]
sealed class StyleTransferModelEditor : UnityEditor.Editor
{
    #region Editor implementation

    public override void OnInspectorGUI()
    {
        var asset = (StyleTransferModel)target;

        ShowWarnings(asset);
        ShowPictures(asset);
        ShowNumbers(asset);

        EditorGUILayout.Space();
        ShowGoldenFrame(asset);

        EditorGUILayout.Space();
        ShowFindings();
        ShowPipelineButtons(asset);

        EditorGUILayout.Space();
        ShowFields(asset);
    }

    /// <summary>The icon in the Project window: the middle of what the style makes of its golden picture.</summary>
    public override Texture2D RenderStaticPreview
      (string assetPath, UnityEngine.Object[] subAssets, int width, int height)
    {
        var picture = ((StyleTransferModel)target).GoldenOutput;
        if (picture == null || SystemInfo.graphicsDeviceType == GraphicsDeviceType.Null) return null;

        var scale = MiddlePart(picture, (float)width / height);
        var offset = new Vector2((1 - scale.x) / 2, (1 - scale.y) / 2);
        var drawn = RenderTexture.GetTemporary
          (width, height, 0, RenderTextureFormat.ARGB32, RenderTextureReadWrite.sRGB);
        var before = RenderTexture.active;
        Graphics.Blit(picture, drawn, scale, offset);

        var icon = new Texture2D(width, height, TextureFormat.RGBA32, false, false);
        RenderTexture.active = drawn;
        icon.ReadPixels(new Rect(0, 0, width, height), 0, 0, false);
        icon.Apply(false);
        RenderTexture.active = before;
        RenderTexture.ReleaseTemporary(drawn);
        return icon;
    }

    #endregion

    #region Private objects

    const float BytesPerMegabyte = 1000 * 1000;

    GoldenFrameResult _result;
    bool _showsFields;

    StyleBuildReport _report;
    PipelineFinding[] _findings;
    string _findingsTitle;
    string _validatedFor;

    PipelineCommand _command;
    string _doing;
    string _failure;

    #endregion

    #region Allocate / deallocate

    void OnEnable()
    {
        _report = StyleBuild.ReadReport(AssetDatabase.GetAssetPath(target));
        _findings = _report != null ? _report.findings : null;
        _findingsTitle = "Findings of the build";
    }

    // A running command continues: selecting something else must not stop a build.
    void OnDisable()
    {
        _command = null;
        _findings = null;
        _report = null;
    }

    #endregion

    #region What is shown

    static void ShowWarnings(StyleTransferModel asset)
    {
        var target = InstalledPackage.TargetFor(asset);
        if (target == null)
            EditorGUILayout.HelpBox("Built for " + asset.Target + ", but no package that runs it is installed. Choose " +
              "Style Transfer > Install Package.", MessageType.Warning);
        else if (!string.IsNullOrEmpty(asset.Target) && asset.Target != target)
            EditorGUILayout.HelpBox("Built for " + asset.Target + ", but " + target +
              " is installed. Press Rebuild to build it for that package.", MessageType.Warning);

        if (!asset.HasNetwork)
            EditorGUILayout.HelpBox("The network is missing. Check that the model file next to this asset was " +
              "imported without errors.", MessageType.Error);
    }

    static void ShowPictures(StyleTransferModel asset)
    {
        if (asset.GoldenInput == null || asset.GoldenOutput == null) return;

        var aspect = (float)(asset.GoldenInput.width + asset.GoldenOutput.width) /
          Mathf.Max(asset.GoldenInput.height, asset.GoldenOutput.height);
        var area = GUILayoutUtility.GetAspectRect(aspect);
        var half = new Rect(area.x, area.y, area.width / 2, area.height);
        EditorGUI.DrawPreviewTexture(half, asset.GoldenInput);
        half.x += half.width;
        EditorGUI.DrawPreviewTexture(half, asset.GoldenOutput);
        EditorGUILayout.Space();
    }

    static void ShowNumbers(StyleTransferModel asset)
    {
        EditorGUILayout.LabelField("Style", asset.DisplayName);
        EditorGUILayout.LabelField("Network", asset.Architecture);
        EditorGUILayout.LabelField("Weights", asset.Weights.ToString("N0", CultureInfo.InvariantCulture));
        EditorGUILayout.LabelField("File", Format("{0:0.00} MB", asset.FileBytes / BytesPerMegabyte));
        EditorGUILayout.LabelField("Cost", Format("{0:0.0} GMACs at {1} x {2}",
          asset.GigaMacs, asset.NominalWidth, asset.NominalHeight));
        EditorGUILayout.LabelField("Sizes", asset.FixedSize
          ? Format("only {0} x {1}", asset.NominalWidth, asset.NominalHeight)
          : Format("any multiple of {0}", asset.SizeMultiple));
        EditorGUILayout.LabelField("Built for", asset.Target);
        EditorGUILayout.LabelField("Source", asset.Source);
    }

    void ShowGoldenFrame(StyleTransferModel asset)
    {
        if (GUILayout.Button("Check golden frame"))
        {
            _result = GoldenFrames.Check(asset);
            Restart();
        }
        if (_result == null) return;
        EditorGUILayout.HelpBox(_result.Message, _result.Passed ? MessageType.Info : MessageType.Error);
    }

    void ShowFindings()
    {
        if (_findings == null) return;

        EditorGUILayout.LabelField(_findingsTitle, _findings.Length == 0
          ? "none" : _findings.Length.ToString(CultureInfo.InvariantCulture));
        foreach (var finding in _findings)
            EditorGUILayout.HelpBox(Describe(finding), Severity(finding.severity));
    }

    void ShowPipelineButtons(StyleTransferModel asset)
    {
        if (_command != null)
        {
            EditorGUILayout.LabelField(_doing, "running");
            if (GUILayout.Button("Cancel"))
            {
                Cancel();
                Restart();
            }
            return;
        }

        if (GUILayout.Button("Validate"))
        {
            Validate(asset);
            Restart();
        }
        var installed = InstalledPackage.TargetFor(asset);
        if (GUILayout.Button(installed != null ? "Rebuild for " + installed : "Rebuild"))
        {
            Rebuild(asset);
            Restart();
        }
        if (_failure != null) EditorGUILayout.HelpBox(_failure, MessageType.Error);
    }

    void ShowFields(StyleTransferModel asset)
    {
        // One that was made with Create > Style Transfer > Empty Style has no source: its fields are the user's.
        var isBuilt = !string.IsNullOrEmpty(asset.SourceDigest);
        _showsFields = EditorGUILayout.Foldout(_showsFields,
          isBuilt ? "All fields (written by the pipeline)" : "All fields");
        if (!_showsFields) return;

        EditorGUI.BeginDisabledGroup(isBuilt);
        DrawDefaultInspector();
        EditorGUI.EndDisabledGroup();
    }

    #endregion

    #region What the buttons do

    void Validate(StyleTransferModel asset)
    {
        var network = AssetDatabase.GetAssetPath(asset.Model);
        if (string.IsNullOrEmpty(network))
        {
            _failure = asset.Packed == null ? "There is no network to validate."
              : "A packed network cannot be validated. Restore the model file first with pipeline decompress.";
            return;
        }

        _validatedFor = InstalledPackage.TargetFor(asset) ?? asset.Target;
        Run("Validate", new[] { "validate", network, "--target", _validatedFor, "--json" }, ShowVerdict);
    }

    void ShowVerdict(PipelineCommand command)
    {
        var report = ValidationReport.Parse(command.Output);
        if (report == null)
        {
            _failure = command.Messages;
            return;
        }

        var verdict = report.files[0];
        _findings = verdict.findings;
        _findingsTitle = "Validated for " + _validatedFor + ": " + verdict.summary;
        if (verdict.error != null && !string.IsNullOrEmpty(verdict.error.code))
            _failure = verdict.error.message + ". " + verdict.error.remedy;
    }

    void Rebuild(StyleTransferModel asset)
    {
        var source = StyleBuild.FindSource(asset);
        if (source == "") return;

        try
        {
            var path = AssetDatabase.GetAssetPath(asset);
            var arguments = StyleBuild.RebuildArguments(source, path, InstalledPackage.TargetFor(asset), _report);
            Run("Rebuild", arguments.ToArray(), TakeOver);
        }
        catch (InvalidOperationException exception)
        {
            _failure = exception.Message;
        }
    }

    void TakeOver(PipelineCommand command)
    {
        if (command.ExitCode != 0)
        {
            _failure = command.Messages;
            if (this == null) Debug.LogError("Style Transfer: the style was not rebuilt. " + _failure);
            return;
        }

        AssetDatabase.Refresh();
        if (this == null) return;
        _result = null;
        OnEnable();
    }

    void Run(string what, string[] arguments, Action<PipelineCommand> finished)
    {
        _failure = null;
        _doing = what;
        _command = new PipelineCommand(arguments, command =>
        {
            _command = null;
            finished(command);
            if (this != null) Repaint();
        });
    }

    // What a button did changes which lines follow it. Unity laid out the old ones, so this event ends here.
    void Restart()
    {
        Repaint();
        GUIUtility.ExitGUI();
    }

    void Cancel()
    {
        _command.Dispose();
        _command = null;
    }

    #endregion

    #region Words and shapes

    // The largest centred part of a picture with the given aspect ratio.
    static Vector2 MiddlePart(Texture picture, float aspect)
    {
        var own = (float)picture.width / picture.height;
        return own > aspect ? new Vector2(aspect / own, 1) : new Vector2(1, own / aspect);
    }

    static string Describe(PipelineFinding finding)
    {
        var place = string.IsNullOrEmpty(finding.node) ? "" : finding.node + ": ";
        return "[" + finding.code + "] " + place + finding.reason + ". " + finding.fix;
    }

    static MessageType Severity(string severity)
    {
        if (severity == "error" || severity == "wrong") return MessageType.Error;
        return severity == "warning" ? MessageType.Warning : MessageType.Info;
    }

    static string Format(string format, params object[] arguments)
      => string.Format(CultureInfo.InvariantCulture, format, arguments);

    #endregion
}

}
