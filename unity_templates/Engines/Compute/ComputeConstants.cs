using System;

namespace StyleTransfer.Compute
{

/// <summary>
/// The sizes of a plan's values at one size of the picture, and with them the constants and thread groups of its
/// dispatches: as pipeline/targets/compute/constants.py has them. Uses nothing of Unity.
/// </summary>
public sealed class ComputeConstants
{
    #region Public members

    /// <summary>Whole numbers that a dispatch has: ten rows of four.</summary>
    public const int ShapeNumbers = 40;

    /// <summary>Other numbers that a dispatch has: seven rows of four.</summary>
    public const int RealNumbers = 28;

    /// <summary>The sizes for a picture.</summary>
    /// <param name="plan">the network</param>
    /// <param name="height">of the picture, in pixels</param>
    /// <param name="width">of the picture, in pixels</param>
    /// <exception cref="ArgumentException">the picture is too small for this network</exception>
    public ComputeConstants(ComputePlan plan, int height, int width)
    {
        _plan = plan;
        _heights = new int[plan.Values.Length];
        _widths = new int[plan.Values.Length];
        _heights[ComputePlan.Picture] = height;
        _widths[ComputePlan.Picture] = width;
        for (var i = 1; i < plan.Values.Length; i++)
        {
            var value = plan.Values[i];
            _heights[i] = value.Height.Of(_heights[value.Source]);
            _widths[i] = value.Width.Of(_widths[value.Source]);
            if (_heights[i] < 1 || _widths[i] < 1)
                throw new ArgumentException("a picture of this size is too small for this network");
        }
    }

    /// <summary>Height of a value, in pixels.</summary>
    public int HeightOf(int value) => _heights[value];

    /// <summary>Width of a value, in pixels.</summary>
    public int WidthOf(int value) => _widths[value];

    /// <summary>Elements of four channels that the buffer of a slot needs.</summary>
    public int SlotElements(int slot)
    {
        var most = 1;
        for (var i = 0; i < _plan.Values.Length; i++)
        {
            var value = _plan.Values[i];
            if (value.Slot == slot && value.Root == i)
                most = Math.Max(most, value.Blocks * _heights[i] * _widths[i]);
        }
        return most;
    }

    /// <summary>Elements of four numbers that the statistics of tiles need at most.</summary>
    public int PartialElements()
    {
        var most = 1;
        foreach (var dispatch in _plan.Dispatches)
        {
            var kernel = _plan.Kernels[dispatch.Kernel];
            if (kernel.Macro("STATISTICS") == 0) continue;

            var shuffle = kernel.Macro("SHUFFLE", 1);
            var blocks = _plan.Values[dispatch.Output].Blocks * shuffle * shuffle;
            if (dispatch.Grid == ComputePlan.Grid.Tiles) blocks = Fixed(dispatch, Slices) * kernel.Macro("BLOCKS");
            most = Math.Max(most, NumbersOfTile * TilesAcross(dispatch) * TilesDown(dispatch) * blocks);
        }
        return most;
    }

    /// <summary>How many thread groups a dispatch has, in each direction.</summary>
    public void FindGroups(ComputePlan.Dispatch dispatch, out int x, out int y, out int z)
    {
        x = y = z = 1;
        switch (dispatch.Grid)
        {
            case ComputePlan.Grid.Blocks:
                x = Fixed(dispatch, OutputBlocks);
                break;
            case ComputePlan.Grid.Threads:
                x = DivideUp(Fixed(dispatch, OutputBlocks), ThreadsOfMerge);
                break;
            case ComputePlan.Grid.Tiles:
                x = TilesAcross(dispatch) * Fixed(dispatch, Slices);
                y = TilesDown(dispatch);
                break;
            default:
                x = TilesAcross(dispatch);
                y = TilesDown(dispatch);
                if (dispatch.Grid == ComputePlan.Grid.Pixels) z = _plan.Values[dispatch.Output].Blocks;
                break;
        }
    }

    /// <summary>Fills in the constants of a dispatch.</summary>
    /// <param name="dispatch">which</param>
    /// <param name="flip">whether rows of the pictures begin at the bottom, as in Unity's textures</param>
    /// <param name="shape">of <see cref="ShapeNumbers"/></param>
    /// <param name="real">of <see cref="RealNumbers"/></param>
    public void Fill(ComputePlan.Dispatch dispatch, bool flip, int[] shape, float[] real)
    {
        Array.Clear(shape, 0, shape.Length);
        Array.Clear(real, 0, real.Length);
        if (dispatch.First >= 0)
        {
            FillValue(dispatch.First, SourceWidth, shape);
            shape[FirstBlockA] = _plan.Values[dispatch.First].FirstBlock;
        }
        if (dispatch.Output >= 0)
        {
            FillValue(dispatch.Output, OutputWidth, shape);
            shape[FirstBlockOutput] = _plan.Values[dispatch.Output].FirstBlock;
            FillTiles(dispatch, shape);
        }
        if (dispatch.Second >= 0)
        {
            shape[SecondWidth] = _widths[dispatch.Second];
            shape[SecondWidth + 1] = _heights[dispatch.Second];
            shape[FirstBlockB] = _plan.Values[dispatch.Second].FirstBlock;
        }
        if (dispatch.Of >= 0) FillTiles(_plan.Dispatches[dispatch.Of], shape);

        for (var i = 0; i < dispatch.Fixed.Length; i += 2) shape[dispatch.Fixed[i]] = dispatch.Fixed[i + 1];
        shape[FlipRows] = flip ? 1 : 0;
        for (var i = 0; i < dispatch.Reals.Length; i++) real[dispatch.RealPlaces[i]] = dispatch.Reals[i];
        if (dispatch.AlignCorners)
        {
            real[Sampling] = Step(_widths[dispatch.First], _widths[dispatch.Output]);
            real[Sampling + 1] = Step(_heights[dispatch.First], _heights[dispatch.Output]);
        }
    }

    #endregion

    #region Places of constants, as Common.hlsl has them

    const int SourceWidth = 0;
    const int OutputWidth = 4;
    const int OutputBlocks = 6;
    const int TilesAcrossAt = 10;
    const int TilesAt = 11;
    const int FirstBlockA = 12;
    const int FirstBlockB = 13;
    const int FirstBlockOutput = 14;
    const int FlipRows = 15;
    const int SecondWidth = 16;
    const int Slices = 22;
    const int CropLeft = 26;
    const int CropTop = 27;
    const int Sampling = 16;

    // Threads of a merge of channels (MergeChannels.hlsl), and float4 that a tile leaves (Statistics.hlsl).
    const int ThreadsOfMerge = 64;
    const int NumbersOfTile = 3;

    // Pixels that a thread of a convolution computes in each direction (Conv.hlsl).
    const int PixelsOfThread = 2;

    #endregion

    #region Private members

    readonly ComputePlan _plan;
    readonly int[] _heights, _widths;

    void FillValue(int number, int at, int[] shape)
    {
        shape[at] = _widths[number];
        shape[at + 1] = _heights[number];
        shape[at + 2] = _plan.Values[number].Blocks;
        shape[at + 3] = _plan.Values[number].Channels;
    }

    void FillTiles(ComputePlan.Dispatch dispatch, int[] shape)
    {
        var across = TilesAcross(dispatch);
        shape[TilesAcrossAt] = across;
        shape[TilesAt] = across * TilesDown(dispatch);
    }

    int TilesAcross(ComputePlan.Dispatch dispatch)
      => Tiles(dispatch, _widths[dispatch.Output], CropLeft, "THREADS_X");

    int TilesDown(ComputePlan.Dispatch dispatch)
      => Tiles(dispatch, _heights[dispatch.Output], CropTop, "THREADS_Y");

    int Tiles(ComputePlan.Dispatch dispatch, int extent, int crop, string threads)
    {
        var kernel = _plan.Kernels[dispatch.Kernel];
        var each = kernel.Macro(threads, 1);
        if (dispatch.Grid == ComputePlan.Grid.Tiles)
        {
            extent = DivideUp(extent + Fixed(dispatch, crop), kernel.Macro("SHUFFLE", 1));
            each *= PixelsOfThread;
        }
        return DivideUp(extent, each);
    }

    static int Fixed(ComputePlan.Dispatch dispatch, int place)
    {
        for (var i = 0; i < dispatch.Fixed.Length; i += 2)
            if (dispatch.Fixed[i] == place) return dispatch.Fixed[i + 1];
        return 0;
    }

    static int DivideUp(int number, int by) => (number + by - 1) / by;

    static float Step(int before, int after) => after > 1 ? (float)(before - 1) / (after - 1) : 0;

    #endregion
}

}
