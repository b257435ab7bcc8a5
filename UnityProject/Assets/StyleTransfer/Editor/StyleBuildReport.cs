using System;

namespace StyleTransfer.Editor
{

/// <summary>
/// The <c>report.json</c> of a model's build.
/// </summary>
[Serializable]
public sealed class StyleBuildReport
{
    /// <summary>What the validator found when the model was built.</summary>
    public PipelineFinding[] findings;

    /// <summary>The options of the build, for a build with the same ones: everything but source and place.</summary>
    public string[] rebuild;

    /// <summary>Reads the JSON; null where it is none.</summary>
    public static StyleBuildReport Parse(string json) => PipelineJson.Parse<StyleBuildReport>(json);
}

}
