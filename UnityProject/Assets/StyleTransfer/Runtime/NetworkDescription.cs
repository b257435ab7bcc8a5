using System.Collections.Generic;

namespace StyleTransfer
{

/// <summary>
/// The properties of a loaded network, independent of the engine.
/// </summary>
public sealed class NetworkDescription
{
    /// <summary>An extent that the network leaves open.</summary>
    public const int Unknown = 0;

    /// <summary>The names of the inputs, in order.</summary>
    public readonly List<string> Inputs = new List<string>();

    /// <summary>The names of the outputs, in order.</summary>
    public readonly List<string> Outputs = new List<string>();

    /// <summary>Channels of the first input; <see cref="Unknown"/> where any number is taken.</summary>
    public int Channels = Unknown;

    /// <summary>Width of the first input, in pixels; <see cref="Unknown"/> where it is free.</summary>
    public int Width = Unknown;

    /// <summary>Height of the first input, in pixels; <see cref="Unknown"/> where it is free.</summary>
    public int Height = Unknown;

    /// <summary>What the model file says besides; null where the engine does not keep it.</summary>
    public IDictionary<string, string> Metadata;
}

}
