// What the cases need to know of an engine, for the made-up one.

using System;
using StyleTransfer;
using UnityEngine;

static class EngineRig
{
    public const string Target = "fake-7";
    public const StyleTransferWorker BestWorker = StyleTransferWorker.Compute;
    public static readonly bool RunsInsideFrames = false;
    public const StyleTransferWorker ProofWorker = StyleTransferWorker.CSharpBurst;

    public static readonly StyleTransferWorker[] Workers = { StyleTransferWorker.Compute, StyleTransferWorker.CSharpBurst };

    public static void Register() => StyleTransferEngines.Register(new FakeEngine());

    public static UnityEngine.Object Import(int channels, int layers)
    {
        var asset = ScriptableObject.CreateInstance<FakeAsset>();
        asset.Channels = channels;
        asset.Layers = layers;
        return asset;
    }

    public static void LetItKeepItsInput(StyleTransferModel style) => ((FakeAsset)style.Model).Keeps = true;

    public static void ImportFiles(UnityEngine.Object network, Action<byte[]> seen)
    {
        FakeEngine.Files = (FakeAsset)network;
        FakeEngine.Seen = seen;
    }

    public static void PrintWorkers() {}

    public static readonly bool StubsHaveStyles = true;

    public static void LetItPredict(StyleTransferModel predictor) => ((FakeAsset)predictor.Model).Predicts = true;

    public static void GiveStyles(StyleTransferModel style, int count) => ((FakeAsset)style.Model).Styles = count;
}
