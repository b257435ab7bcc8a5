using Unity.Barracuda;

namespace StyleTransfer.Barracuda
{

/// <summary>
/// Imports .onnx files while the game runs. The assembly StyleTransfer.Barracuda.Onnx, which is compiled with
/// Barracuda 2.0 and later only, sets <see cref="BarracudaEngine.Importer"/>: Barracuda 1 imports in the editor only.
/// </summary>
public abstract class BarracudaImporter
{
    /// <summary>Imports an .onnx file, as the editor would. Runs on the main thread.</summary>
    public abstract Model Import(byte[] file);
}

}
