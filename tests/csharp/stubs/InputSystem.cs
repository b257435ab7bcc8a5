// Stands for com.unity.inputsystem: the part that the demo uses. Its keyboard has pressed what Input has.

using System;
using System.Reflection;

[assembly: AssemblyVersion("1.0.0.0")]

namespace UnityEngine.InputSystem
{

public enum Key
{
    None, Space, Enter, Tab, Backquote, Quote, Semicolon, Comma, Period, Slash, Backslash, LeftBracket, RightBracket,
    Minus, Equals, A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z,
    LeftArrow = 61, RightArrow = 62, UpArrow = 63, DownArrow = 64
}

public class Keyboard
{
    public static Keyboard current { get { return new Keyboard(); } }

    public Controls.KeyControl this[Key key]
    {
        get { return new Controls.KeyControl(Input.GetKey((KeyCode)Enum.Parse(typeof(KeyCode), key.ToString()))); }
    }
}

namespace Controls
{

public class KeyControl
{
    readonly bool _isPressed;
    public KeyControl(bool isPressed) { _isPressed = isPressed; }
    public bool isPressed { get { return _isPressed; } }
    public bool wasPressedThisFrame { get { return _isPressed; } }
}

}

}
