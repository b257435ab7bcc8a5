using System.Globalization;
using UnityEditor;
using UnityEngine;

namespace StyleTransfer.Editor
{

/// <summary>
/// Shows what a style costs, what it does to a picture, and whether it does so here.
/// </summary>
[CustomEditor(typeof(StyleTransferModel))]
sealed class StyleTransferModelEditor : UnityEditor.Editor
{
    #region Editor implementation

    public override void OnInspectorGUI()
    {
        var asset = (StyleTransferModel)target;

        ShowWarnings(asset);
        ShowNumbers(asset);
        ShowPictures(asset);

        EditorGUILayout.Space();
        if (GUILayout.Button("Check golden frame")) _result = GoldenFrames.Check(asset);
        if (_result != null)
            EditorGUILayout.HelpBox(_result.Message, _result.Passed ? MessageType.Info : MessageType.Error);

        EditorGUILayout.Space();
        _showsFields = EditorGUILayout.Foldout(_showsFields, "All fields (written by the pipeline)");
        if (!_showsFields) return;

        EditorGUI.BeginDisabledGroup(true);
        DrawDefaultInspector();
        EditorGUI.EndDisabledGroup();
    }

    #endregion

    #region Private members

#if BARRACUDA_3_OR_NEWER
    const string InstalledTarget = "barracuda-3.0";
#elif BARRACUDA_2_OR_NEWER
    const string InstalledTarget = "barracuda-2.0";
#else
    const string InstalledTarget = "barracuda-1.0";
#endif

    const float BytesPerMegabyte = 1000 * 1000;

    GoldenFrameResult _result;
    bool _showsFields;

    static void ShowWarnings(StyleTransferModel asset)
    {
        if (asset.Target != InstalledTarget)
            EditorGUILayout.HelpBox("Built for " + asset.Target + ", but " + InstalledTarget + " is installed. " +
              "Build the model again with --target " + InstalledTarget + ".", MessageType.Warning);

        if (asset.Model == null)
            EditorGUILayout.HelpBox("The network is missing. Check that the .onnx file beside this asset was " +
              "imported without errors.", MessageType.Error);
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
          ? Format("{0} x {1} alone", asset.NominalWidth, asset.NominalHeight)
          : Format("any multiple of {0}", asset.SizeMultiple));
        EditorGUILayout.LabelField("Source", asset.Source);
    }

    static void ShowPictures(StyleTransferModel asset)
    {
        if (asset.GoldenInput == null || asset.GoldenOutput == null) return;

        EditorGUILayout.Space();
        var aspect = (float)(asset.GoldenInput.width + asset.GoldenOutput.width) /
          Mathf.Max(asset.GoldenInput.height, asset.GoldenOutput.height);
        var area = GUILayoutUtility.GetAspectRect(aspect);
        var half = new Rect(area.x, area.y, area.width / 2, area.height);
        EditorGUI.DrawPreviewTexture(half, asset.GoldenInput);
        half.x += half.width;
        EditorGUI.DrawPreviewTexture(half, asset.GoldenOutput);
    }

    static string Format(string format, params object[] arguments)
      => string.Format(CultureInfo.InvariantCulture, format, arguments);

    #endregion
}

}
