using System.Collections.Generic;
using NUnit.Framework;
using UnityEditor;
using StyleTransfer.Editor;

namespace StyleTransfer.Tests
{

/// <summary>
/// One edit mode test for each style in the project, for the Test Runner window and for build servers.
/// </summary>
public sealed class GoldenFrameTests
{
    static IEnumerable<string> ModelPaths() => GoldenFrames.FindModelPaths();

    /// <summary>The model computes here what its source network computed where it was built.</summary>
    [TestCaseSource("ModelPaths")]
    public void ModelComputesItsGoldenFrame(string path)
    {
        var result = GoldenFrames.Check(AssetDatabase.LoadAssetAtPath<StyleTransferModel>(path));
        Assert.IsTrue(result.Passed, result.Message);
    }
}

}
