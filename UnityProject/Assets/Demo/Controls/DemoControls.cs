using System.Globalization;
using StyleTransfer;
using UnityEngine;

namespace StyleTransferDemo
{

/// <summary>
/// Keys for the settings of a style, and a panel that shows their values.
/// </summary>
[RequireComponent(typeof(StyleTransferCamera))]
public sealed class DemoControls : MonoBehaviour
{
    #region Editable attributes

    [SerializeField, Tooltip("The component that a key switches on and off, such as the camera path.")]
    Behaviour path = null;

    #endregion

    #region Private objects

    const KeyCode StylizeKey = KeyCode.T;
    const KeyCode StyleKey = KeyCode.N;
    const KeyCode WeakerKey = KeyCode.LeftArrow;
    const KeyCode StrongerKey = KeyCode.RightArrow;
    const KeyCode CoarserKey = KeyCode.DownArrow;
    const KeyCode FinerKey = KeyCode.UpArrow;
    const KeyCode TemporalKey = KeyCode.U;
    const KeyCode ReprojectKey = KeyCode.R;
    const KeyCode InterpolateKey = KeyCode.I;
    const KeyCode GovernorKey = KeyCode.G;
    const KeyCode PathKey = KeyCode.P;
    const KeyCode HelpKey = KeyCode.H;

    const float StrengthPerSecond = 0.5f;
    const int LinesPerStep = 60;
    const int FramesOfTemporal = 4;
    const int GovernedFrameRate = 60;

    // How much of the last frame's time the shown one keeps.
    const float Smoothing = 0.95f;
    const float MillisecondsPerSecond = 1000;
    const float Margin = 10;
    const float PanelWidth = 380;
    const float PanelHeight = 270;

    StyleTransferCamera _camera;
    float _frameTime;
    bool _showsHelp = true;

    #endregion

    #region MonoBehaviour implementation

    void OnEnable() => _camera = GetComponent<StyleTransferCamera>();

    void Update()
    {
        _frameTime = Mathf.Lerp(Time.unscaledDeltaTime, _frameTime, Smoothing);

        if (DemoKeys.WentDown(StylizeKey)) _camera.Stylize = !_camera.Stylize;
        if (DemoKeys.WentDown(StyleKey)) _camera.NextStyle();
        if (DemoKeys.WentDown(FinerKey)) _camera.TargetHeight += LinesPerStep;
        if (DemoKeys.WentDown(CoarserKey)) _camera.TargetHeight -= LinesPerStep;
        if (DemoKeys.WentDown(TemporalKey)) _camera.RunEveryFrames = _camera.RunEveryFrames > 1 ? 1 : FramesOfTemporal;
        if (DemoKeys.WentDown(ReprojectKey)) _camera.Reproject = !_camera.Reproject;
        if (DemoKeys.WentDown(InterpolateKey)) _camera.Interpolate = !_camera.Interpolate;
        if (DemoKeys.WentDown(GovernorKey)) _camera.TargetFrameRate = _camera.TargetFrameRate > 0 ? 0 : GovernedFrameRate;
        if (DemoKeys.WentDown(PathKey) && path != null) path.enabled = !path.enabled;
        if (DemoKeys.WentDown(HelpKey)) _showsHelp = !_showsHelp;

        var step = StrengthPerSecond * Time.unscaledDeltaTime;
        if (DemoKeys.IsDown(StrongerKey)) _camera.Strength += step;
        if (DemoKeys.IsDown(WeakerKey)) _camera.Strength -= step;
    }

    void OnGUI()
    {
        if (!_showsHelp) return;

        GUILayout.BeginArea(new Rect(Margin, Margin, PanelWidth, PanelHeight), GUI.skin.box);
        GUILayout.Label(Number(_frameTime * MillisecondsPerSecond, "0.0") + " ms per frame, " +
          Number(1 / Mathf.Max(_frameTime, 1e-6f), "0") + " frames per second");

        if (DemoKeys.CanBeRead) ShowKeys();
        else GUILayout.Label("To use the keys, install the package com.unity.inputsystem.");

        GUILayout.EndArea();
    }

    #endregion

    #region Private methods

    void ShowKeys()
    {
        var model = _camera.Model;
        Line(StylizeKey, "style", _camera.Stylize ? "on" : "off");
        Line(StyleKey, "next style", model != null ? model.DisplayName : "none");
        Line("left, right", "strength", Number(_camera.Strength, "0.00"));
        Line("down, up", "lines of the network's input", Number(_camera.TargetHeight * _camera.ResolutionScale, "0"));
        Line(TemporalKey, "run the network every n frames", Number(_camera.RunEveryFrames, "0"));
        Line(ReprojectKey, "reproject", _camera.Reproject ? "on" : "off");
        Line(InterpolateKey, "interpolate", _camera.Interpolate ? Late(_camera.FramesLate) : "off");
        Line(GovernorKey, "hold 60 frames per second", _camera.TargetFrameRate > 0 ? "on" : "off");
        Line(PathKey, "camera moves", path != null && path.enabled ? "on" : "off");
        Line(HelpKey, "hide this panel", "");
    }

    static string Late(int frames) => "on, " + Number(frames, "0") + " frames late";

    static void Line(KeyCode key, string what, string value) => Line(key.ToString(), what, value);

    static void Line(string key, string what, string value)
      => GUILayout.Label(key + "   " + what + (value == "" ? "" : ": " + value));

    static string Number(float value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    #endregion
}

}
