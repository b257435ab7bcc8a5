using System;

namespace StyleTransfer
{

/// <summary>
/// Lowers and raises the working resolution to reach a frame rate. It uses nothing of Unity.
/// </summary>
/// <remarks>
/// Frames are evaluated in windows. If more than half of the frames in a window were late, the resolution is lowered by
/// one level. After a series of good windows it is raised by one level, as a trial: with vertical sync, a frame that
/// could be shorter takes the same time as one that could not, so there is no other way to find out. After a failed
/// trial, the next one comes after twice as many windows.
/// </remarks>
public sealed class FrameRateGovernor
{
    #region Public members

    /// <summary>Each level has this many times the lines of the one above: seven tenths of the pixels.</summary>
    public const float LevelFactor = 0.84f;

    /// <summary>The lowest level: a fifth of the lines, a twentieth of the pixels.</summary>
    public const int LowestLevel = 9;

    /// <summary>Number of frames in a window.</summary>
    public const int WindowFrames = 20;

    /// <summary>Frames that are ignored after a change, because textures and kernels are created in them.</summary>
    public const int SettlingFrames = 4;

    /// <summary>A frame is late if it takes more than this many times the target time.</summary>
    public const float Lateness = 1.1f;

    /// <summary>Good windows in a row before the first trial.</summary>
    public const int FirstPatience = 6;

    /// <summary>Good windows in a row before a trial, at most.</summary>
    public const int LongestPatience = 96;

    /// <summary>How many times the resolution was lowered from the full one.</summary>
    public int Level { get; private set; }

    /// <summary>Actual lines divided by requested lines, at most 1.</summary>
    public float Scale => (float)Math.Pow(LevelFactor, Level);

    /// <summary>A governor at full resolution.</summary>
    public FrameRateGovernor() => Reset();

    /// <summary>Takes one frame into account. True if the level has changed.</summary>
    /// <param name="milliseconds">what the frame took</param>
    /// <param name="targetMilliseconds">what it may take</param>
    public bool Tick(float milliseconds, float targetMilliseconds)
    {
        if (_settling > 0)
        {
            _settling--;
            return false;
        }

        _frames++;
        if (milliseconds > targetMilliseconds * Lateness) _late++;
        if (_frames < WindowFrames) return false;

        var tooSlow = _late * 2 > WindowFrames;
        _frames = 0;
        _late = 0;
        return tooSlow ? Lower() : Raise();
    }

    /// <summary>Returns to full resolution and forgets all frames.</summary>
    public void Reset()
    {
        Level = 0;
        _settling = SettlingFrames;
        _frames = 0;
        _late = 0;
        _good = 0;
        _patience = FirstPatience;
        _onTrial = false;
    }

    #endregion

    #region Private members

    int _settling, _frames, _late, _good, _patience;

    // The level was raised, and not a single window has been good since.
    bool _onTrial;

    bool Lower()
    {
        if (_onTrial) _patience = Math.Min(_patience * 2, LongestPatience);
        _onTrial = false;
        _good = 0;
        if (Level == LowestLevel) return false;
        return Change(1);
    }

    bool Raise()
    {
        // The level that was tried is fine: the next one up may be tried as soon as at first.
        if (_onTrial) _patience = FirstPatience;
        _onTrial = false;
        _good++;
        if (Level == 0 || _good < _patience) return false;
        _good = 0;
        _onTrial = true;
        return Change(-1);
    }

    bool Change(int step)
    {
        Level += step;
        _settling = SettlingFrames;
        return true;
    }

    #endregion
}

}
