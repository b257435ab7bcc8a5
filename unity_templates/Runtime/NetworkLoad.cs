using System;
using System.Threading.Tasks;
using Unity.Barracuda;

namespace StyleTransfer
{

/// <summary>
/// One load of a model's network. The bytes of a packed model are rebuilt on another thread meanwhile; an imported
/// one is ready at once.
/// </summary>
/// <remarks>
/// To be used on the main thread: start, go on drawing, and take it when it is ready.
/// </remarks>
public sealed class NetworkLoad
{
    #region Public members

    /// <summary>Starts to load.</summary>
    /// <param name="model">what to load</param>
    /// <exception cref="InvalidOperationException">the asset has no network, or this project cannot load packed
    /// ones; the message says what to do</exception>
    public static NetworkLoad Start(StyleTransferModel model)
    {
        if (!model.HasNetwork)
            throw new InvalidOperationException("Style transfer model '" + model.DisplayName +
              "' has no network. Check that the .onnx or .bytes file lies beside the asset and was imported " +
              "without errors.");

        if (model.Model == null && PackedImporter.Current == null)
            throw new InvalidOperationException("Style transfer model '" + model.DisplayName + "' is packed, " +
              "which needs Barracuda 2.0 or later. Build it again with --weights float.");

        return new NetworkLoad(model);
    }

    /// <summary>What is loaded.</summary>
    public StyleTransferModel Model => _model;

    /// <summary>Whether <see cref="Take"/> returns without waiting for the other thread.</summary>
    public bool IsReady => _bytes == null || _bytes.IsCompleted;

    /// <summary>The network; waits for it if it is not ready.</summary>
    /// <exception cref="InvalidOperationException">the packed file is damaged; the message says what to
    /// do</exception>
    public Model Take()
    {
        if (_bytes == null) return ModelLoader.Load(_model.Model);

        try
        {
            return PackedImporter.Current.Import(_bytes.Result);
        }
        catch (AggregateException exception)
        {
            throw new InvalidOperationException("Style transfer model '" + _model.DisplayName + "': " +
              exception.GetBaseException().Message, exception.GetBaseException());
        }
    }

    #endregion

    #region Private members

    readonly StyleTransferModel _model;

    // The rebuilt model file; null for an imported model.
    readonly Task<byte[]> _bytes;

    NetworkLoad(StyleTransferModel model)
    {
        _model = model;
        if (model.Model != null) return;

        var packed = model.Packed.bytes;
        var importer = PackedImporter.Current;

    #if UNITY_WEBGL && !UNITY_EDITOR
        // There are no threads.
        var done = new TaskCompletionSource<byte[]>();
        try
        {
            done.SetResult(importer.Unpack(packed));
        }
        catch (Exception exception)
        {
            done.SetException(exception);
        }
        _bytes = done.Task;
    #else
        _bytes = Task.Run(() => importer.Unpack(packed));
    #endif
    }

    #endregion
}

/// <summary>
/// Rebuilds and imports packed models. The assembly StyleTransfer.Packed, which is compiled with Barracuda 2.0 and
/// later alone, sets the current one: Barracuda 1 cannot import a model while the game runs.
/// </summary>
public abstract class PackedImporter
{
    /// <summary>The one in use; null if this project cannot load packed models.</summary>
    public static PackedImporter Current { get; set; }

    /// <summary>The bytes of the model file in a packed one. May run on any thread.</summary>
    /// <exception cref="System.IO.InvalidDataException">the file is damaged</exception>
    public abstract byte[] Unpack(byte[] packed);

    /// <summary>Imports a model file, as the editor would. Runs on the main thread.</summary>
    public abstract Model Import(byte[] model);
}

}
