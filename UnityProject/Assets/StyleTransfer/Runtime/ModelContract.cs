using System.Globalization;
using Unity.Barracuda;

namespace StyleTransfer
{

/// <summary>
/// Compares what a <see cref="StyleTransferModel"/> says with the network that Barracuda imported, so that a
/// model file exchanged behind the asset's back is named instead of shown in wrong colours.
/// </summary>
public static class ModelContract
{
    #region Public methods

    /// <summary>
    /// The first disagreement, with what to do about it; null where all is well.
    /// </summary>
    /// <param name="asset">what is promised</param>
    /// <param name="network">what was imported</param>
    public static string FindMismatch(StyleTransferModel asset, Model network)
    {
        if (network.inputs.Count != 1)
            return Say(asset, "the network has " + Number(network.inputs.Count) + " inputs instead of one");

        var input = network.inputs[0];
        if (input.name != asset.InputName)
            return Say(asset, "the network's input is called '" + input.name +
              "', the asset says '" + asset.InputName + "'");

        if (!network.outputs.Contains(asset.OutputName))
            return Say(asset, "the network has no output called '" + asset.OutputName + "'");

        return FindShapeMismatch(asset, input.shape) ?? FindMetadataMismatch(asset, network);
    }

    #endregion

    #region Private methods

    const int ColorChannels = 3;
    const int GreyChannels = 1;

    // Barracuda 1 stores N,H,W,C and 2 to 3 store eight dimensions that end in H,W,C: counted from the end,
    // both read alike. Unknown dimensions are -1.
    const int ChannelsFromEnd = 1;
    const int WidthFromEnd = 2;
    const int HeightFromEnd = 3;

    static string FindShapeMismatch(StyleTransferModel asset, int[] shape)
    {
        if (asset.InputChannels != ColorChannels && asset.InputChannels != GreyChannels)
            return Say(asset, "the asset asks for " + Number(asset.InputChannels) +
              " input channels; a picture has 3 or 1");

        var channels = shape[shape.Length - ChannelsFromEnd];
        if (channels > 0 && channels != asset.InputChannels)
            return Say(asset, "the network takes " + Number(channels) + " channels, the asset says " +
              Number(asset.InputChannels));

        if (!asset.FixedSize) return null;

        var width = shape[shape.Length - WidthFromEnd];
        var height = shape[shape.Length - HeightFromEnd];
        if ((width > 0 && width != asset.NominalWidth) || (height > 0 && height != asset.NominalHeight))
            return Say(asset, "the network runs at " + Number(width) + "x" + Number(height) +
              " alone, the asset says " + Number(asset.NominalWidth) + "x" + Number(asset.NominalHeight));

        return null;
    }

#if BARRACUDA_3_OR_NEWER

    // The keys that the pipeline writes into the model file. Barracuda keeps metadata from 2.1 on, unless the
    // model's import settings skip it: then there is nothing to compare.
    const string ContractKey = "image_contract";
    const string DigestKey = "source_digest";
    const string RangeKey = "\"range\":";
    const string BakedRange = "\"range\": \"0..1\"";

    static string FindMetadataMismatch(StyleTransferModel asset, Model network)
    {
        if (network.Metadata == null || network.Metadata.Count == 0) return null;

        string contract, digest;
        if (!network.Metadata.TryGetValue(ContractKey, out contract))
            return Say(asset, "the model file carries no image contract, so it was not made for a bundle");

        // What remains after the ranges of 0..1 are struck out is another range.
        if (contract.Replace(BakedRange, "").Contains(RangeKey))
            return Say(asset, "the model file keeps the value ranges of its source (" + contract +
              ") instead of 0..1, so its colours would be wrong");

        if (network.Metadata.TryGetValue(DigestKey, out digest) && digest != asset.SourceDigest)
            return Say(asset, "the model file was built from another source file than this asset (" +
              digest + " instead of " + asset.SourceDigest + ")");

        return null;
    }

#else

    static string FindMetadataMismatch(StyleTransferModel asset, Model network) => null;

#endif

    static string Say(StyleTransferModel asset, string what)
      => "Style transfer model '" + asset.DisplayName + "': " + what + ". The .onnx file and the .asset file " +
         "beside it do not belong together: build the bundle again with pipeline build-unity and copy its " +
         "whole folder.";

    static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    #endregion
}

}
