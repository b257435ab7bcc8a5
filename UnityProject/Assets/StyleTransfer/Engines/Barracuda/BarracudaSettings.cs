using UnityEngine;

namespace StyleTransfer.Barracuda
{

/// <summary>
/// Settings of Barracuda itself, for the whole game. Put it on an object of the first scene: it is applied
/// before other components load a network.
/// </summary>
[AddComponentMenu("Style Transfer/Barracuda Settings")]
[DefaultExecutionOrder(BeforeOthers)]
public sealed class BarracudaSettings : MonoBehaviour
{
    #region Editable attributes

    [SerializeField, Tooltip("How GPU workers store channels, for all networks of the game. Last is the default. " +
      "First gives the same picture with less work on desktop GPUs, but Unity calls it experimental: measure it " +
      "on your devices. Phones always use Last.")]
    ChannelOrder channelOrder = ChannelOrder.Last;

    #endregion

    #region Public properties

    /// <summary>How channels are stored; takes effect when the component awakes.</summary>
    public ChannelOrder ChannelOrder
    {
        get => channelOrder;
        set => channelOrder = value;
    }

    #endregion

    #region MonoBehaviour implementation

    const int BeforeOthers = -1000;

    void Awake()
    {
        string note;
        if (!BarracudaChannels.TrySet(channelOrder, out note)) Debug.LogWarning("Style Transfer: " + note, this);
    }

    #endregion
}

}
