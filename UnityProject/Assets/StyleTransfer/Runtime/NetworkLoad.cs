using System;
using System.Threading.Tasks;

namespace StyleTransfer
{

/// <summary>
/// Loads a model's network. A packed model is rebuilt on another thread; an imported one is ready at once.
/// </summary>
/// <remarks>
/// Use it on the main thread: start it, continue drawing, and take the result when it is ready.
/// </remarks>
public sealed class NetworkLoad
{
    #region Public members

    /// <summary>Starts to load.</summary>
    /// <param name="model">what to load</param>
    /// <exception cref="InvalidOperationException">the asset has no network, or this project has no engine that
    /// runs it; the message says what to do</exception>
    public static NetworkLoad Start(StyleTransferModel model)
    {
        if (!model.HasNetwork)
            throw new InvalidOperationException("Style transfer model '" + model.DisplayName +
              "' has no network. Check that the model file is next to the asset and was imported without errors.");

        var engine = StyleTransferEngines.Find(model);
        if (engine == null) throw new InvalidOperationException(DescribeMissingEngine(model));

        return new NetworkLoad(model, engine);
    }

    /// <summary>The model that is loaded.</summary>
    public StyleTransferModel Model => _model;

    /// <summary>The engine that loads it.</summary>
    public StyleTransferEngine Engine => _engine;

    /// <summary>Whether <see cref="Take"/> returns without waiting for the other thread.</summary>
    public bool IsReady => _file == null || _file.IsCompleted;

    /// <summary>The network on a worker; waits for it if it is not ready. Whoever takes it disposes it.</summary>
    /// <param name="worker">the result of the engine's Choose</param>
    /// <exception cref="InvalidOperationException">the packed file is damaged, or the network is not the one that
    /// the asset describes; the message says what to do</exception>
    public StyleTransferNetwork Take(StyleTransferWorker worker)
    {
        var network = _file == null ? _engine.Load(_model, worker) : _engine.LoadFile(_model, WaitForFile(), worker);
        try
        {
            var mismatch = ModelContract.FindMismatch(_model, network.Describe());
            if (mismatch != null) throw new InvalidOperationException(mismatch);
            return network;
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    #endregion

    #region Private members

    readonly StyleTransferModel _model;
    readonly StyleTransferEngine _engine;

    // The rebuilt model file; null for an imported model.
    readonly Task<byte[]> _file;

    NetworkLoad(StyleTransferModel model, StyleTransferEngine engine)
    {
        _model = model;
        _engine = engine;
        if (model.Model != null) return;

        var packed = model.Packed.bytes;

    #if UNITY_WEBGL && !UNITY_EDITOR
        // WebGL has no threads.
        var done = new TaskCompletionSource<byte[]>();
        try
        {
            done.SetResult(PackedModel.Unpack(packed));
        }
        catch (Exception exception)
        {
            done.SetException(exception);
        }
        _file = done.Task;
    #else
        _file = Task.Run(() => PackedModel.Unpack(packed));
    #endif
    }

    byte[] WaitForFile()
    {
        try
        {
            return _file.Result;
        }
        catch (AggregateException exception)
        {
            throw new InvalidOperationException("Style transfer model '" + _model.DisplayName + "': " +
              exception.GetBaseException().Message, exception.GetBaseException());
        }
    }

    static string DescribeMissingEngine(StyleTransferModel model)
    {
        var text = "Style transfer model '" + model.DisplayName + "' was built for " + model.Target + ", but ";
        var installed = StyleTransferEngines.Installed;
        if (installed == null)
            return text + "this project has no package that runs it. Choose Style Transfer > Install Package, or add " +
              "the package in the Package Manager.";

        if (model.Model == null && model.Target == installed.Target)
            return text + "the installed " + installed.Name + " " + installed.Version + " cannot load packed weights. " +
              "Build it again with --weights float.";

        return text + "this project has " + installed.Name + " " + installed.Version + ". Build it again with " +
          "--target " + installed.Target + ".";
    }

    #endregion
}

}
