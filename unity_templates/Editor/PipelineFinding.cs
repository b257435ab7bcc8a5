using System;

namespace StyleTransfer.Editor
{

/// <summary>
/// One thing that the validator found in a network. The fields have the names of the JSON.
/// </summary>
[Serializable]
public sealed class PipelineFinding
{
    /// <summary>Stable code; <c>pipeline explain CODE</c> says more.</summary>
    public string code;

    /// <summary>error, wrong, warning, slow or note.</summary>
    public string severity;

    /// <summary>Name of the node; empty for the whole network.</summary>
    public string node;

    /// <summary>What is the matter.</summary>
    public string reason;

    /// <summary>What to do about it.</summary>
    public string fix;
}

}
