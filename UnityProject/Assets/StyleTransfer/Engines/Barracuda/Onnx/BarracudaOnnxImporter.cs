using Unity.Barracuda;
using Unity.Barracuda.ONNX;
using UnityEngine;
using UnityEngine.Scripting;

// Nothing refers to this assembly: without this, a player might be built without it.
[assembly: AlwaysLinkAssembly]

namespace StyleTransfer.Barracuda
{

/// <summary>
/// Imports .onnx files with Barracuda's own converter, as the editor's importer does.
/// </summary>
[Preserve]
public sealed class BarracudaOnnxImporter : BarracudaImporter
{
    #region BarracudaImporter implementation

    /// <summary>Imports an .onnx file.</summary>
    public override Model Import(byte[] file) => new ONNXModelConverter(OptimizeModel).Convert(file);

    #endregion

    #region Private members

    // As in the import settings of the .onnx files of other bundles.
    const bool OptimizeModel = true;

    [Preserve]
    [RuntimeInitializeOnLoadMethod(RuntimeInitializeLoadType.AfterAssembliesLoaded)]
#if UNITY_EDITOR
    [UnityEditor.InitializeOnLoadMethod]
#endif
    static void Register() => BarracudaEngine.Importer = new BarracudaOnnxImporter();

    #endregion
}

}
