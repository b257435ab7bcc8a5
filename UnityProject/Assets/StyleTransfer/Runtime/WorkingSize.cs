using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// The picture size at which the network runs.
/// </summary>
public readonly struct WorkingSize
{
    #region Public members

    /// <summary>
    /// The smallest width or height, in pixels. The smallest that every known network takes: its inner layers
    /// work at a quarter of the size and mirror their borders, which needs more than two pixels there.
    /// </summary>
    public const int SmallestExtent = 16;

    /// <summary>Width in pixels.</summary>
    public readonly int Width;

    /// <summary>Height in pixels.</summary>
    public readonly int Height;

    /// <summary>A size of exactly these pixels.</summary>
    public WorkingSize(int width, int height)
    {
        Width = width;
        Height = height;
    }

    /// <summary>
    /// The size for a source picture: <paramref name="targetHeight"/> lines or the source's own if it has fewer,
    /// as wide as the source's aspect asks, both rounded to the nearest multiple.
    /// </summary>
    /// <param name="sourceWidth">pixels, above 0</param>
    /// <param name="sourceHeight">pixels, above 0</param>
    /// <param name="targetHeight">requested lines; values below 1 count as 1</param>
    /// <param name="multiple">what the network's sizes must be a multiple of; below 1 counts as 1</param>
    public static WorkingSize Fit(int sourceWidth, int sourceHeight, int targetHeight, int multiple)
    {
        var lines = Mathf.Clamp(targetHeight, 1, sourceHeight);
        var columns = (float)sourceWidth * lines / sourceHeight;
        var step = Mathf.Max(1, multiple);
        return new WorkingSize(RoundToMultiple(columns, step), RoundToMultiple(lines, step));
    }

    #endregion

    #region Private methods

    static int RoundToMultiple(float extent, int step)
    {
        var nearest = Mathf.FloorToInt(extent / step + 0.5f) * step;
        var smallest = (SmallestExtent + step - 1) / step * step;
        return Mathf.Max(nearest, smallest);
    }

    #endregion
}

}
