using System;
using System.Collections.Generic;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// The style vectors of a network: those of its asset, and those that its predictor computes from pictures and vectors. A
/// blend of two styles interpolates them.
/// </summary>
/// <remarks>
/// The predictor is loaded on first use, and runs once for each picture, spread over frames. The vectors of the last
/// pictures are cached. Use it on the main thread.
/// </remarks>
sealed class StyleVectors : IDisposable
{
    #region Public members

    /// <summary>Reads the style vectors of an asset.</summary>
    /// <param name="model">an asset whose <see cref="StyleTransferModel.HasStyleVectors"/> is true</param>
    /// <param name="requested">the worker for the predictor</param>
    /// <param name="convertShader">Hidden/StyleTransfer/Convert; null looks it up</param>
    /// <exception cref="InvalidOperationException">the asset's file of style vectors is damaged</exception>
    public StyleVectors(StyleTransferModel model, StyleTransferWorker requested, Shader convertShader)
    {
        _model = model;
        _requested = requested;
        _convertShader = convertShader;
        _held = model.ReadStyleVectors();
        Length = _held.Length / model.StyleCount;
    }

    /// <summary>Length of a style vector.</summary>
    public int Length { get; }

    /// <summary>Whether the vectors of both styles of a mix are ready.</summary>
    public bool Has(in StyleMix mix)
      => IsKnown(mix.Picture, mix.Vector) && (mix.Blend <= 0 || IsKnown(mix.SecondPicture, mix.SecondVector));

    /// <summary>Runs one frame's share of the predictor, if a mix needs a vector that is not ready.</summary>
    /// <param name="mix">the styles</param>
    /// <param name="spreadFrames">over how many frames the predictor's run is spread</param>
    /// <param name="milliseconds">time limit per frame; 0 uses <paramref name="spreadFrames"/></param>
    /// <param name="waits">whether to compute everything in this call, and wait for the GPU</param>
    public void Prepare(in StyleMix mix, int spreadFrames, float milliseconds, bool waits)
    {
        if (_model.Predictor == null) return;
        Prepare(mix.Picture, mix.Vector, _first, spreadFrames, milliseconds, waits);

        // One after the other: there is one predictor.
        if (mix.Blend > 0 && IsKnown(mix.Picture, mix.Vector))
            Prepare(mix.SecondPicture, mix.SecondVector, _second, spreadFrames, milliseconds, waits);
    }

    /// <summary>Writes the vector of a mix.</summary>
    /// <param name="mix">the styles</param>
    /// <param name="numbers">receives <see cref="Length"/> numbers</param>
    /// <returns>whether any of them changed; false also if a vector is not ready yet</returns>
    public bool Write(in StyleMix mix, float[] numbers)
    {
        if (!Has(mix)) return false;

        var blend = Mathf.Clamp01(mix.Blend);
        int from, secondFrom;
        var first = Held(mix.Picture, mix.Vector, mix.Style, _first, out from);
        var second = blend > 0 ? Held(mix.SecondPicture, mix.SecondVector, mix.SecondStyle, _second, out secondFrom)
          : Held(mix.Picture, mix.Vector, mix.Style, _first, out secondFrom);

        var changed = !_written;
        _written = true;
        for (var i = 0; i < numbers.Length; i++)
        {
            var number = Mathf.Lerp(first[from + i], second[secondFrom + i], blend);
            changed |= number != numbers[i];
            numbers[i] = number;
        }
        return changed;
    }

    /// <summary>Removes the vector of a picture from the cache, so that the predictor processes it again.</summary>
    public void Forget(Texture picture)
    {
        for (var i = _seen.Count - 1; i >= 0; i--)
            if (ReferenceEquals(_seen[i].Picture, picture)) _seen.RemoveAt(i);
    }

    /// <summary>Frees the predictor, and cancels a run in progress.</summary>
    public void Dispose() => ReleasePredictor();

    #endregion

    #region Private objects

    // Pictures whose numbers are kept, of which the oldest goes first.
    const int MostSeen = 16;
    const int GreyChannels = 1;

    // A picture is halved until it is at most so many times as large as the predictor's: its filter is exact then.
    const int LargestRatio = 4;

    sealed class Seen
    {
        internal Texture Picture;
        internal uint Version;
        internal float[] Numbers;
    }

    // The numbers of the last vector, of each side of a blend.
    sealed class OfVector
    {
        internal float[] Vector, Numbers;
    }

    readonly StyleTransferModel _model;
    readonly StyleTransferWorker _requested;
    readonly Shader _convertShader;
    readonly float[] _held;
    readonly List<Seen> _seen = new List<Seen>();
    readonly OfVector _first = new OfVector(), _second = new OfVector();
    bool _written;

    NetworkLoad _load;
    StyleTransferNetwork _predictor;
    RunSchedule _schedule;
    PictureConverter _converter;

    // The picture whose run is under way, and whether all its layers are given.
    Seen _running;
    bool _ended;

    #endregion

    #region What is known

    bool IsKnown(Texture picture, float[] vector)
    {
        if (_model.Predictor == null) return true;
        if (vector != null) return true;
        return picture == null || Of(picture) != null;
    }

    // The array that holds a style's numbers, and where they begin.
    float[] Held(Texture picture, float[] vector, int number, OfVector side, out int from)
    {
        from = 0;
        if (_model.Predictor != null && vector != null) return NumbersOf(vector, side);
        if (_model.Predictor != null && picture != null) return Of(picture).Numbers;
        from = Mathf.Clamp(number, 0, _model.StyleCount - 1) * Length;
        return _held;
    }

    Seen Of(Texture picture)
    {
        for (var i = 0; i < _seen.Count; i++)
            if (ReferenceEquals(_seen[i].Picture, picture) && _seen[i].Version == picture.updateCount) return _seen[i];
        return null;
    }

    #endregion

    #region Prediction

    void Prepare(Texture picture, float[] vector, OfVector side, int spreadFrames, float milliseconds, bool waits)
    {
        if (vector != null) NumbersOf(vector, side);
        else if (picture != null && Of(picture) == null) Look(picture, spreadFrames, milliseconds, waits);
    }

    // A vector is a few numbers for a small network, which is not spread.
    float[] NumbersOf(float[] vector, OfVector side)
    {
        if (side.Vector == null || !Same(side.Vector, vector)) ComputeNumbers(vector, side);
        return side.Numbers;
    }

    // Where a vector changed.
    void ComputeNumbers(float[] vector, OfVector side)
    {
        if (vector.Length != _model.Predictor.InputChannels || _model.TakesStylePictures)
            throw new InvalidOperationException("Style transfer model '" + _model.DisplayName + "' takes " +
              (_model.TakesStylePictures ? "pictures as styles, not vectors." :
                "vectors of " + _model.Predictor.InputChannels + " numbers as styles, not of " + vector.Length + "."));

        if (_predictor == null) AllocatePredictor();
        WorkingSize size;
        int channels;
        side.Vector = (float[])vector.Clone();
        side.Numbers = _predictor.Compute(side.Vector, new WorkingSize(1, 1), out size, out channels);
    }

    static bool Same(float[] a, float[] b)
    {
        if (a.Length != b.Length) return false;
        for (var i = 0; i < a.Length; i++)
            if (a[i] != b[i]) return false;
        return true;
    }

    void Look(Texture picture, int spreadFrames, float milliseconds, bool waits)
    {
        if (!_model.TakesStylePictures) ReportPicture();
        if (!IsPredictorReady(waits)) return;
        if (_running == null || !ReferenceEquals(_running.Picture, picture)) Begin(picture);
        if (!_ended && !_schedule.Advance(waits ? 1 : spreadFrames, waits ? 0 : milliseconds, waits)) return;
        _ended = true;
        if (!_predictor.FinishNumbers(_running.Numbers, waits)) return;

        if (_seen.Count == MostSeen) _seen.RemoveAt(0);
        Forget(picture);
        _seen.Add(_running);
        _running = null;
    }

    // A packed predictor is unpacked on another thread.
    bool IsPredictorReady(bool waits)
    {
        if (_predictor != null) return true;
        if (_load == null) AllocateLoad();
        if (!waits && !_load.IsReady) return false;
        AllocatePredictor();
        return true;
    }

    void Begin(Texture picture)
    {
        _schedule.Cancel();
        Draw(picture);
        _schedule.Begin();
        _ended = false;
        AllocateSeen(picture);
    }

    void ReportPicture()
    {
        throw new InvalidOperationException("Style transfer model '" + _model.DisplayName + "' takes vectors as " +
          "styles, not pictures. Leave Style Picture empty.");
    }

    // The middle of the picture, as the pipeline takes it, on the predictor's input.
    void Draw(Texture picture)
    {
        int width = _model.Predictor.NominalWidth, height = _model.Predictor.NominalHeight;
        var shape = Mathf.Min((float)picture.width / width, (float)picture.height / height);
        var share = new Vector2(shape * width / picture.width, shape * height / picture.height);
        var ratio = Mathf.Max(1, shape);

        var cut = Temporary(width, height, ratio);
        Graphics.Blit(picture, cut, share, (Vector2.one - share) * 0.5f);
        while (ratio > LargestRatio)
        {
            ratio = Mathf.Max(1, ratio / 2);
            var half = Temporary(width, height, ratio);
            Graphics.Blit(cut, half);
            RenderTexture.ReleaseTemporary(cut);
            cut = half;
        }

        _converter.SetToNetwork(cut.width, cut.height, new WorkingSize(width, height),
                                _model.Predictor.InputChannels == GreyChannels);
        Graphics.Blit(cut, _predictor.Input, _converter.Material, PictureConverter.PassToNetwork);
        RenderTexture.ReleaseTemporary(cut);
    }

    static RenderTexture Temporary(int width, int height, float ratio)
      => RenderTexture.GetTemporary(Mathf.CeilToInt(width * ratio), Mathf.CeilToInt(height * ratio), 0,
                                    RenderTextureFormat.ARGB32, RenderTextureReadWrite.Default);

    #endregion

    #region Allocate / deallocate

    void AllocateLoad() => _load = NetworkLoad.Start(_model.Predictor);

    void AllocatePredictor()
    {
        try
        {
            if (_load == null) AllocateLoad();
            string note;
            _converter = new PictureConverter(_convertShader);

            // A vector's few numbers come from the CPU and go there: by way of the GPU each change would wait.
            var requested = _model.TakesStylePictures ? _requested : StyleTransferWorker.CSharpBurst;
            _predictor = _load.Take(_load.Engine.Choose(requested, out note));
            if (_model.TakesStylePictures)
                _predictor.AllocateBuffers(new WorkingSize(_model.Predictor.NominalWidth, _model.Predictor.NominalHeight));
            _schedule = new RunSchedule(_predictor);
        }
        catch
        {
            ReleasePredictor();
            throw;
        }
    }

    // Once for each picture that is not known yet.
    void AllocateSeen(Texture picture)
      => _running = new Seen { Picture = picture, Version = picture.updateCount, Numbers = new float[Length] };

    void ReleasePredictor()
    {
        _load = null;
        _running = null;
        if (_schedule != null) _schedule.Dispose();
        _schedule = null;
        if (_predictor != null) _predictor.Dispose();
        _predictor = null;
        if (_converter != null) _converter.Dispose();
        _converter = null;
    }

    #endregion
}

}
