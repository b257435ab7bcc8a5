namespace StyleTransfer.Editor
{

/// <summary>
/// The Barracuda that this project has.
/// </summary>
public static class InstalledPackage
{
    /// <summary>The target of the pipeline that stands for the installed version.</summary>
    public static string Target => Name;

#if BARRACUDA_3_OR_NEWER
    const string Name = "barracuda-3.0";
#elif BARRACUDA_2_OR_NEWER
    const string Name = "barracuda-2.0";
#else
    const string Name = "barracuda-1.0";
#endif
}

}
