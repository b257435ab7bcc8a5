using System.Collections.Generic;
using System.Globalization;

namespace StyleTransfer
{

/// <summary>
/// Compares a <see cref="StyleTransferModel"/> with the loaded network, so that a replaced model file is reported instead
/// of showing wrong colours.
/// </summary>
public static class ModelContract
{
    #region Public methods

    /// <summary>
    /// The first difference, with what to do about it; null if there is none.
    /// </summary>
    /// <param name="asset">the asset</param>
    /// <param name="network">the properties of the loaded network</param>
    public static string FindMismatch(StyleTransferModel asset, NetworkDescription network)
    {
        var guides = asset.GuideInputs;
        var inputs = PictureInputs + guides.Length + (string.IsNullOrEmpty(asset.StyleInput) ? 0 : StyleInputs);
        if (network.Inputs.Count != inputs)
            return Say(asset, "the network has " + Number(network.Inputs.Count) + " inputs instead of " + Number(inputs));

        if (network.Inputs[0] != asset.InputName)
            return Say(asset, "the network's input is called '" + network.Inputs[0] +
              "' instead of '" + asset.InputName + "'");

        for (var i = 0; i < guides.Length; i++)
            if (network.Inputs[PictureInputs + i] != guides[i])
                return Say(asset, "the network's input for guides is called '" + network.Inputs[PictureInputs + i] +
                  "' instead of '" + guides[i] + "'");

        if (inputs > PictureInputs + guides.Length && network.Inputs[PictureInputs] != asset.StyleInput)
            return Say(asset, "the network's second input is called '" + network.Inputs[PictureInputs] +
              "' instead of '" + asset.StyleInput + "'");

        if (!network.Outputs.Contains(asset.OutputName))
            return Say(asset, "the network has no output called '" + asset.OutputName + "'");

        return FindShapeMismatch(asset, network) ?? FindMetadataMismatch(asset, network.Metadata);
    }

    #endregion

    #region Private methods

    const int PictureInputs = 1;
    const int StyleInputs = 1;
    const int ColorChannels = 3;
    const int GreyChannels = 1;

    static string FindShapeMismatch(StyleTransferModel asset, NetworkDescription network)
    {
        if (asset.HasGuides && asset.GuideLayout.TextureCount != asset.GuideInputs.Length)
            return Say(asset, "the asset declares " + Number(asset.GuideInputs.Length) + " inputs for guides that take " +
              Number(asset.GuideLayout.TextureCount) + " textures");

        if (!asset.IsPredictor && asset.InputChannels != ColorChannels && asset.InputChannels != GreyChannels)
            return Say(asset, "the asset declares " + Number(asset.InputChannels) +
              " input channels, but a picture has 3 or 1");

        if (Differs(network.Channels, asset.InputChannels))
            return Say(asset, "the network has " + Number(network.Channels) + " input channels instead of " +
              Number(asset.InputChannels));

        if (!asset.FixedSize) return null;

        if (Differs(network.Width, asset.NominalWidth) || Differs(network.Height, asset.NominalHeight))
            return Say(asset, "the network runs only at " + Number(network.Width) + "x" + Number(network.Height) +
              ", not at " + Number(asset.NominalWidth) + "x" + Number(asset.NominalHeight));

        return null;
    }

    static bool Differs(int found, int promised) => found != NetworkDescription.Unknown && found != promised;

    // The keys that the pipeline writes into the model file.
    const string ContractKey = "image_contract";
    const string DigestKey = "source_digest";
    const string RangeKey = "\"range\":";
    const string BakedRange = "\"range\": \"0..1\"";

    static string FindMetadataMismatch(StyleTransferModel asset, IDictionary<string, string> metadata)
    {
        if (metadata == null) return null;

        string contract, digest;
        if (!metadata.TryGetValue(ContractKey, out contract))
            return Say(asset, "the model file contains no image contract, so it was not made for a bundle");

        // What remains after the ranges of 0..1 are struck out is another range.
        if (contract.Replace(BakedRange, "").Contains(RangeKey))
            return Say(asset, "the model file keeps the value ranges of its source (" + contract +
              ") instead of 0..1, so its colours would be wrong");

        if (metadata.TryGetValue(DigestKey, out digest) && digest != asset.SourceDigest)
            return Say(asset, "the model file was built from another source file than this asset (" +
              digest + " instead of " + asset.SourceDigest + ")");

        return null;
    }

    static string Say(StyleTransferModel asset, string what)
      => "Style transfer model '" + asset.DisplayName + "': " + what + ". The model file and the .asset file " +
         "next to it do not belong together: build the bundle again with pipeline build-unity and copy its " +
         "whole folder.";

    static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    #endregion
}

}
