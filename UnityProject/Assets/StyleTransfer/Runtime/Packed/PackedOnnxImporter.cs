using Unity.Barracuda;
using Unity.Barracuda.ONNX;
using UnityEngine;
using UnityEngine.Scripting;

// Nothing refers to this assembly: without this, a player might be built without it.
[assembly: AlwaysLinkAssembly]

namespace StyleTransfer
{

/// <summary>
/// Imports packed ONNX models with Barracuda's own converter, as the editor's importer does.
/// </summary>
public sealed class PackedOnnxImporter : PackedImporter
{
    #region PackedImporter implementation

    /// <summary>The bytes of the .onnx file in a packed one.</summary>
    public override byte[] Unpack(byte[] packed) => PackedModel.Unpack(packed);

    /// <summary>Imports an .onnx file.</summary>
    public override Model Import(byte[] model) => new ONNXModelConverter(OptimizeModel).Convert(model);

    #endregion

    #region Private members

    // As in the import settings of the .onnx files of other bundles.
    const bool OptimizeModel = true;

    [RuntimeInitializeOnLoadMethod(RuntimeInitializeLoadType.BeforeSceneLoad)]
#if UNITY_EDITOR
    [UnityEditor.InitializeOnLoadMethod]
#endif
    static void Register() => Current = new PackedOnnxImporter();

    #endregion
}

}
