using UnityEngine;
#if ENABLE_INPUT_SYSTEM && STYLETRANSFER_INPUT_SYSTEM
using UnityEngine.InputSystem;
#endif

namespace StyleTransferDemo
{

/// <summary>
/// Keys of the demo: from the Input System in projects that have it and use it, else from the Input Manager.
/// </summary>
static class DemoKeys
{
    #region Public members

#if ENABLE_INPUT_SYSTEM && STYLETRANSFER_INPUT_SYSTEM

    /// <summary>Whether keys can be read at all.</summary>
    public static bool CanBeRead => true;

    /// <summary>Whether a key was pressed in this frame.</summary>
    public static bool WentDown(KeyCode key)
    {
        var keyboard = Keyboard.current;
        return keyboard != null && keyboard[KeyOf(key)].wasPressedThisFrame;
    }

    /// <summary>Whether a key is held.</summary>
    public static bool IsDown(KeyCode key)
    {
        var keyboard = Keyboard.current;
        return keyboard != null && keyboard[KeyOf(key)].isPressed;
    }

#elif ENABLE_LEGACY_INPUT_MANAGER

    /// <summary>Whether keys can be read at all.</summary>
    public static bool CanBeRead => true;

    /// <summary>Whether a key was pressed in this frame.</summary>
    public static bool WentDown(KeyCode key) => Input.GetKeyDown(key);

    /// <summary>Whether a key is held.</summary>
    public static bool IsDown(KeyCode key) => Input.GetKey(key);

#else

    /// <summary>Whether keys can be read at all: the project uses the Input System and lacks its package.</summary>
    public static bool CanBeRead => false;

    /// <summary>Whether a key was pressed in this frame.</summary>
    public static bool WentDown(KeyCode key) => false;

    /// <summary>Whether a key is held.</summary>
    public static bool IsDown(KeyCode key) => false;

#endif

    #endregion

    #region Private members

#if ENABLE_INPUT_SYSTEM && STYLETRANSFER_INPUT_SYSTEM

    static Key KeyOf(KeyCode key)
    {
        switch (key)
        {
            case KeyCode.LeftArrow: return Key.LeftArrow;
            case KeyCode.RightArrow: return Key.RightArrow;
            case KeyCode.UpArrow: return Key.UpArrow;
            case KeyCode.DownArrow: return Key.DownArrow;
            default: return Key.A + (key - KeyCode.A);
        }
    }

#endif

    #endregion
}

}
