using System.Collections.Generic;

namespace StyleTransfer
{

/// <summary>
/// The properties of a loaded network, independent of the engine.
/// </summary>
public sealed class NetworkDescription
{
    /// <summary>The value of a dynamic dimension.</summary>
    public const int Unknown = 0;

    /// <summary>The names of the inputs, in order.</summary>
    public readonly List<string> Inputs = new List<string>();

    /// <summary>The names of the outputs, in order.</summary>
    public readonly List<string> Outputs = new List<string>();

    /// <summary>Channels of the first input; <see cref="Unknown"/> if any number is accepted.</summary>
    public int Channels = Unknown;

    /// <summary>Width of the first input, in pixels; <see cref="Unknown"/> if it is dynamic.</summary>
    public int Width = Unknown;

    /// <summary>Height of the first input, in pixels; <see cref="Unknown"/> if it is dynamic.</summary>
    public int Height = Unknown;

    /// <summary>The metadata of the model file; null if the engine does not keep it.</summary>
    public IDictionary<string, string> Metadata;
}

}
