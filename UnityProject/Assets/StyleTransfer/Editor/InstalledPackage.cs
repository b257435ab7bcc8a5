namespace StyleTransfer.Editor
{

/// <summary>
/// Which target of the pipeline a style is built for in this project.
/// </summary>
public static class InstalledPackage
{
    /// <summary>The target of the installed engine, for a new style; null where none is installed.</summary>
    public static string Target => TargetOf(StyleTransferEngines.Installed);

    /// <summary>The target for an existing style: that of the engine that runs it, or else of the installed engine;
    /// null if none is installed.</summary>
    public static string TargetFor(StyleTransferModel asset)
      => TargetOf(StyleTransferEngines.Find(asset) ?? StyleTransferEngines.Installed);

    static string TargetOf(StyleTransferEngine engine) => engine != null ? engine.Target : null;
}

}
