using System.Globalization;
using UnityEditor;
using UnityEngine;

namespace StyleTransfer.Editor
{

/// <summary>
/// Shows in a component's inspector what its style costs at the current size and, in play mode, what is running.
/// </summary>
[CustomEditor(typeof(StyleTransferSettings), true), CanEditMultipleObjects]
sealed class StyleTransferSettingsEditor : UnityEditor.Editor
{
    #region Editor implementation

    public override void OnInspectorGUI()
    {
        if (targets.Length > 1)
        {
            DrawDefaultInspector();
            return;
        }

        var settings = (StyleTransferSettings)target;
        var camera = settings.GetComponent<Camera>();
        if (settings.Model != null && camera != null)
            EditorGUILayout.HelpBox(Cost(settings, camera.pixelWidth, camera.pixelHeight), MessageType.Info);

        if (settings.Model != null && settings.Model.StyleCount > 1)
            EditorGUILayout.HelpBox(Styles(settings), MessageType.None);
        if (settings.MaskModel != null && !settings.MaskModel.IsMask)
            EditorGUILayout.HelpBox(NoMask, MessageType.Warning);

        var running = settings as StyleTransferCamera;
        if (Application.isPlaying && running != null && running.Runner != null)
            EditorGUILayout.HelpBox(Running(running), MessageType.None);

        DrawDefaultInspector();
    }

    /// <summary>The second box changes while playing.</summary>
    public override bool RequiresConstantRepaint() => Application.isPlaying;

    #endregion

    #region Private methods

    const float BytesPerMegabyte = 1000 * 1000;

    static string Cost(StyleTransferSettings settings, int width, int height)
    {
        var model = settings.Model;
        var size = model.FitSize(width, height, settings.TargetHeight);
        var pixels = (float)size.Width * size.Height / ((float)model.NominalWidth * model.NominalHeight);
        return string.Format(CultureInfo.InvariantCulture,
          "{0}: {1:N0} weights, {2:0.00} MB. The network runs at {3} x {4}: {5:0.0} billion multiply-adds per " +
          "picture{6}.",
          model.DisplayName, model.Weights, model.FileBytes / BytesPerMegabyte, size.Width, size.Height,
          model.GigaMacs * pixels, Rate(settings.RunEveryFrames));
    }

    const string NoMask = "The network in Mask Model outputs pictures. Assign one that was built with --mask.";

    static string Styles(StyleTransferSettings settings)
    {
        var names = new System.Text.StringBuilder("Style Number and Second Style:");
        for (var i = 0; i < settings.Model.StyleCount; i++)
            names.Append(i == 0 ? " " : ", ").Append(i.ToString(CultureInfo.InvariantCulture)).Append(" ")
              .Append(settings.Model.StyleName(i));
        return names.ToString();
    }

    static string Rate(int everyFrames)
      => everyFrames == 1 ? "" : ", once every " + everyFrames.ToString(CultureInfo.InvariantCulture) + " frames";

    static string Running(StyleTransferCamera camera)
    {
        var runner = camera.Runner;
        return string.Format(CultureInfo.InvariantCulture,
          "{0} runs at {1} x {2} on {3}; networks loaded: {4}; resolution {5:0} %{6}.",
          runner.Model.DisplayName, runner.Size.Width, runner.Size.Height, runner.Worker, camera.LoadedStyles,
          camera.ResolutionScale * 100, Late(camera.FramesLate));
    }

    static string Late(int frames)
      => frames == 0 ? "" : "; delayed by " + frames.ToString(CultureInfo.InvariantCulture) + " frames";

    #endregion
}

}
