using System;

namespace StyleTransfer.Compute
{

/// <summary>
/// Lays out a plan's constants as the kernels read them: as pipeline/targets/compute/layout.py does. Uses nothing of
/// Unity.
/// </summary>
public static class ComputeWeights
{
    #region Public methods

    /// <summary>The whole buffer of weights: four numbers for each element.</summary>
    public static float[] LayOut(ComputePlan plan)
    {
        var end = 1;
        foreach (var weight in plan.Weights) end = Math.Max(end, weight.At + Length(weight));
        var buffer = new float[Lanes * end];
        foreach (var weight in plan.Weights) LayOutData(weight, weight.Data, buffer);
        return buffer;
    }

    /// <summary>Lays out one weight of a buffer again, with other numbers.</summary>
    /// <param name="weight">which, of the plan that the buffer is of</param>
    /// <param name="data">its numbers; as many as its own, or more</param>
    /// <param name="buffer">the whole buffer</param>
    /// <param name="first">the first number of the buffer that is the weight's</param>
    /// <param name="count">how many are</param>
    public static void LayOut(ComputePlan.Weight weight, float[] data, float[] buffer, out int first, out int count)
    {
        first = Lanes * weight.At;
        count = Lanes * Length(weight);
        LayOutData(weight, data, buffer);
    }

    #endregion

    #region Private methods

    const int Lanes = ComputePlan.ChannelsPerBlock;

    static int Length(ComputePlan.Weight weight)
    {
        switch (weight.Kind)
        {
            case ComputePlan.WeightKind.Convolution:
                var form = weight.Form;
                return form[0] * form[1] * weight.Shape[2] * weight.Shape[3] * form[2] * form[3];
            case ComputePlan.WeightKind.Rows:
                return weight.Form[1] * weight.Shape[0];
            default:
                return Blocks(weight.Shape[0]) * weight.Shape[1] * weight.Shape[2];
        }
    }

    static void LayOutData(ComputePlan.Weight weight, float[] data, float[] buffer)
    {
        switch (weight.Kind)
        {
            case ComputePlan.WeightKind.Convolution:
                LayOutConvolution(weight, data, buffer);
                break;
            case ComputePlan.WeightKind.Rows:
                LayOutRows(weight, data, buffer);
                break;
            default:
                LayOutDepthwise(weight, data, buffer);
                break;
        }
    }

    // Slice by slice of output channels; in it input blocks, kernel rows, columns, lanes, output blocks. What has no
    // channel stays 0.
    static void LayOutConvolution(ComputePlan.Weight weight, float[] data, float[] buffer)
    {
        int slices = weight.Form[0], steps = weight.Form[1], lanes = weight.Form[2], together = weight.Form[3];
        int phaseBlocks = weight.Form[4], phases = weight.Form[5];
        int outputs = weight.Shape[0], inputs = weight.Shape[1], taps = weight.Shape[2] * weight.Shape[3];
        var each = outputs / phases;
        var to = Lanes * weight.At;
        for (var slice = 0; slice < slices; slice++)
        for (var step = 0; step < steps; step++)
        for (var tap = 0; tap < taps; tap++)
        for (var lane = 0; lane < lanes; lane++)
        for (var block = 0; block < together; block++)
        for (var channel = 0; channel < Lanes; channel++, to++)
        {
            var number = slice * together + block;
            var phase = number / phaseBlocks;
            var inPhase = (number - phase * phaseBlocks) * Lanes + channel;
            var input = step * Lanes + lane;
            if (phase < phases && inPhase < each && input < inputs)
                buffer[to] = data[((phase * each + inPhase) * inputs + input) * taps + tap];
        }
    }

    // For each block of channels all rows; phase by phase.
    static void LayOutRows(ComputePlan.Weight weight, float[] data, float[] buffer)
    {
        int rows = weight.Shape[0], channels = weight.Shape[1], phases = weight.Form[0];
        var each = channels / phases;
        var blocks = Blocks(each);
        for (var row = 0; row < rows; row++)
        for (var channel = 0; channel < channels; channel++)
        {
            var inPhase = channel % each;
            var block = channel / each * blocks + inPhase / Lanes;
            buffer[Lanes * (weight.At + block * rows + row) + inPhase % Lanes] = data[row * channels + channel];
        }
    }

    static void LayOutDepthwise(ComputePlan.Weight weight, float[] data, float[] buffer)
    {
        var taps = weight.Shape[1] * weight.Shape[2];
        for (var channel = 0; channel < weight.Shape[0]; channel++)
        for (var tap = 0; tap < taps; tap++)
            buffer[Lanes * (weight.At + channel / Lanes * taps + tap) + channel % Lanes] =
              data[channel * taps + tap];
    }

    static int Blocks(int channels) => (channels + Lanes - 1) / Lanes;

    #endregion
}

}
