// Signatures of the assembly Unity.Barracuda.ONNX, the same in 2.0.0 and 3.0.0; 1.0.4 has no such assembly.

using System;

namespace Stub
{

public static class Converter
{
    public static byte[] LastModel;
    public static bool LastOptimize;
}

}

namespace Unity.Barracuda.ONNX
{

public class ONNXModelConverter
{
    readonly bool m_OptimizeModel;

    public ONNXModelConverter(bool optimizeModel, bool treatErrorsAsWarnings = false, bool forceArbitraryBatchSize = true)
    {
        m_OptimizeModel = optimizeModel;
    }

    public Model Convert(byte[] buffer)
    {
        Stub.Converter.LastModel = buffer;
        Stub.Converter.LastOptimize = m_OptimizeModel;
        return new Model();
    }
}

}
