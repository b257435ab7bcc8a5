using System.Collections.Generic;

namespace StyleTransfer
{

/// <summary>
/// The engines of this project. Each registers itself before the first scene and, in the editor, after scripts are
/// loaded; registering again, as happens where Unity does not reload scripts for Play, replaces the old one.
/// </summary>
public static class StyleTransferEngines
{
    #region Public members

    /// <summary>All engines, in the order in which they registered.</summary>
    public static IReadOnlyList<StyleTransferEngine> All => s_All;

    /// <summary>The engine with an inference package; if there is none, an engine without a package; otherwise null.
    /// </summary>
    public static StyleTransferEngine Installed
    {
        get
        {
            foreach (var engine in s_All)
                if (engine.IsPackage) return engine;
            return s_All.Count > 0 ? s_All[0] : null;
        }
    }

    /// <summary>Adds an engine, in place of one of the same class.</summary>
    public static void Register(StyleTransferEngine engine)
    {
        s_All.RemoveAll(other => other.GetType() == engine.GetType());
        s_All.Add(engine);
    }

    /// <summary>The engine that runs a model; null if this project has none.</summary>
    public static StyleTransferEngine Find(StyleTransferModel model)
    {
        foreach (var engine in s_All)
            if (model.Model != null ? engine.CanLoad(model.Model) : engine.CanLoadFile(model.Target)) return engine;
        return null;
    }

    #endregion

    #region Private members

    static readonly List<StyleTransferEngine> s_All = new List<StyleTransferEngine>();

    #endregion
}

}
