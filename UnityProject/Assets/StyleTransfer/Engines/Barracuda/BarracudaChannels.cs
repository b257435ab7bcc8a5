#if BARRACUDA_2_OR_NEWER
using Unity.Barracuda;
#endif
using UnityEngine;

namespace StyleTransfer.Barracuda
{

/// <summary>
/// In which order Barracuda's GPU workers store the channels of a tensor. The numbers are serialised in scenes.
/// </summary>
public enum ChannelOrder
{
    /// <summary>All channels of a pixel side by side (NHWC): Barracuda's own default.</summary>
    Last = 0,
    /// <summary>One channel after the other (NCHW): experimental in Barracuda 2.0 and 3.0.</summary>
    First = 1
}

/// <summary>
/// Sets the order of channels for Barracuda. It is one setting for the whole game and every network in it, and must
/// be set before the first network is loaded: scripts call <see cref="TrySet"/>, scenes have a
/// <see cref="BarracudaSettings"/>.
/// </summary>
/// <remarks>
/// The results are the same. With channels first Barracuda has kernels for few channels and for 3x3 convolutions
/// (Winograd) that issue a third to a half less work for style networks on desktops, and its normalisations use all of
/// the memory that they fetch. Unity calls it experimental, so that the default is channels last.
/// </remarks>
public static class BarracudaChannels
{
    #region Public methods

    /// <summary>Sets the channel order for all networks of the game. Returns whether it is in effect.</summary>
    /// <param name="order">the order that the user selected</param>
    /// <param name="note">null if it is in effect; otherwise one sentence that says why not</param>
    public static bool TrySet(ChannelOrder order, out string note)
    {
        note = null;
        if (order == Current) return true;
    #if BARRACUDA_2_OR_NEWER
        if (order == ChannelOrder.First && Application.isMobilePlatform)
            note = "Phones keep channels last, because Barracuda has kernels for their GPUs in that order.";
        else if (s_networks > 0)
            note = "Barracuda's channel order cannot change while networks are loaded; set it before loading the first.";
        else
            ComputeInfo.channelsOrder = order == ChannelOrder.First
              ? ComputeInfo.ChannelsOrder.NCHW : ComputeInfo.ChannelsOrder.NHWC;
    #else
        note = "The channel order can only be selected with Barracuda 2.0 and newer.";
    #endif
        return note == null;
    }

    #endregion

    #region Public properties

    /// <summary>The order that is in effect.</summary>
    public static ChannelOrder Current
    #if BARRACUDA_2_OR_NEWER
      => ComputeInfo.channelsOrder == ComputeInfo.ChannelsOrder.NCHW ? ChannelOrder.First : ChannelOrder.Last;
    #else
      => ChannelOrder.Last;
    #endif

    #endregion

    #region Networks that are loaded

    static int s_networks;

    internal static void Loaded() => s_networks++;

    internal static void Freed() => s_networks--;

    #endregion
}

}
