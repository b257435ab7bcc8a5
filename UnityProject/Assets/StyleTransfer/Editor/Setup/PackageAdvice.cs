using System;
using System.Collections.Generic;

namespace StyleTransfer.Setup
{

/// <summary>
/// What to say about the packages of a project, given the targets that its styles were built for.
/// </summary>
public static class PackageAdvice
{
    #region Public members

    /// <summary>The packages that run networks.</summary>
    public static readonly string[] Packages = { Barracuda, Sentis, InferenceEngine };

    /// <summary>The menu entry that adds the package.</summary>
    public const string InstallMenu = "Style Transfer/Install Package";

    /// <summary>What a project without styles gets.</summary>
    public const string DefaultTarget = "barracuda-3.0";

    /// <summary>The package of a target; null for a target that needs none or is unknown.</summary>
    /// <param name="target">such as <c>barracuda-3.0</c></param>
    public static string PackageOf(string target)
    {
        foreach (var row in s_Targets)
            if (row.Target == target) return row.Package;
        return null;
    }

    /// <summary>The version of that package to install; null where <see cref="PackageOf"/> is.</summary>
    public static string VersionOf(string target)
    {
        foreach (var row in s_Targets)
            if (row.Target == target) return row.Version;
        return null;
    }

    /// <summary>The target for an installed package; null if no style can be built for it.</summary>
    /// <param name="package">its name</param>
    /// <param name="version">its version, such as <c>2.4.0</c></param>
    public static string TargetOf(string package, string version)
    {
        int major, minor;
        ReadVersion(version, out major, out minor);
        foreach (var row in s_Targets)
            if (row.Package == package && row.Accepts(major, minor)) return row.Target;
        return null;
    }

    /// <summary>
    /// The target in the text of a style's <c>.asset</c> file; null if the text contains none. It is read as text
    /// because the class of the asset may not be compiled.
    /// </summary>
    public static string ReadTarget(string assetText)
    {
        foreach (var line in assetText.Split('\n'))
            if (line.StartsWith(TargetKey, StringComparison.Ordinal))
                return line.Substring(TargetKey.Length).Trim().Trim('"');
        return null;
    }

    /// <summary>One sentence or two per problem, each with what to do; null where all is well.</summary>
    /// <param name="installed">the installed ones of <see cref="Packages"/>, and their versions</param>
    /// <param name="styles">what each style of the project was built for, by the name of the style</param>
    public static string Find(IDictionary<string, string> installed, IDictionary<string, string> styles)
    {
        if (installed.Count == 0) return FindMissing(styles);

        var hasBarracuda = installed.ContainsKey(Barracuda);
        if (hasBarracuda && installed.Count > 1)
            return Barracuda + " and " + (installed.ContainsKey(InferenceEngine) ? InferenceEngine : Sentis) +
              " are both installed. Both import .onnx files, so Unity lets neither of them do so. In the Package " +
              "Manager, remove the one that the project does not use.";

        // Unity 6000.3 and later bring a package com.unity.sentis that only refers to its successor.
        var package = hasBarracuda ? Barracuda : installed.ContainsKey(InferenceEngine) ? InferenceEngine : Sentis;
        var target = TargetOf(package, installed[package]);
        if (target == null) return DescribeUnknown(package, installed[package]);

        return FindStrangers(package, installed[package], target, styles);
    }

    /// <summary>
    /// The target whose package to install: the newest that a style of the project was built for. Null where the
    /// styles need no package.
    /// </summary>
    public static string WantedTarget(IDictionary<string, string> styles)
    {
        if (styles.Count == 0) return DefaultTarget;
        foreach (var row in s_Targets)
            foreach (var target in styles.Values)
                if (target == row.Target) return target;
        return null;
    }

    #endregion

    #region Private members

    const string Barracuda = "com.unity.barracuda";
    const string Sentis = "com.unity.sentis";
    const string InferenceEngine = "com.unity.ai.inference";

    // As the pipeline and Unity write a field of a ScriptableObject.
    const string TargetKey = "  target: ";

    // A target of the pipeline, its package, and the versions of that package.
    struct Row
    {
        internal string Target, Package, Version;
        internal int Major, FirstMinor, LastMinor;

        internal bool Accepts(int major, int minor) => major == Major && minor >= FirstMinor && minor <= LastMinor;
    }

    // Newest first.
    static readonly Row[] s_Targets =
    {
        Make("inference-2", InferenceEngine, "2.4.0", 2, 2, int.MaxValue),
        Make("inference-2.3", InferenceEngine, "2.3.0", 2, 3, 3),
        Make("inference-2.2", InferenceEngine, "2.2.2", 2, 2, 2),
        Make("sentis-2.1", Sentis, "2.1.3", 2, 1, 1),
        Make("barracuda-3.0", Barracuda, "3.0.0", 3, 0, int.MaxValue),
        Make("barracuda-2.0", Barracuda, "2.0.0", 2, 0, int.MaxValue),
        Make("barracuda-1.0", Barracuda, "1.0.4", 1, 0, int.MaxValue)
    };

    static Row Make(string target, string package, string version, int major, int firstMinor, int lastMinor)
      => new Row
         {
             Target = target, Package = package, Version = version, Major = major, FirstMinor = firstMinor,
             LastMinor = lastMinor
         };

    static string FindMissing(IDictionary<string, string> styles)
    {
        var wanted = WantedTarget(styles);
        if (wanted == null) return null;
        return "the package " + PackageOf(wanted) + " is not installed, so no style can run. Choose " +
          InstallMenu.Replace("/", " > ") + ", or add version " + VersionOf(wanted) +
          " by name in the Package Manager.";
    }

    static string DescribeUnknown(string package, string version)
    {
        var text = "no style can be built for the installed " + package + " " + version + ". ";
        if (package == Sentis) return text + "Update it to 2.1.3, or in Unity 6 replace it by " + InferenceEngine + ".";
        return text + "Update the package in the Package Manager, or update this pipeline.";
    }

    static string FindStrangers(string package, string version, string target, IDictionary<string, string> styles)
    {
        var strangers = new List<string>();
        foreach (var pair in styles)
            if (PackageOf(pair.Value) != null && !Runs(package, version, pair.Value))
                strangers.Add(pair.Key + " (" + pair.Value + ")");
        if (strangers.Count == 0) return null;

        strangers.Sort(StringComparer.Ordinal);
        return package + " " + version + " is installed, but these styles were built for another package or version: " +
          string.Join(", ", strangers.ToArray()) + ". They do not run, or look wrong. Rebuild them with --target " +
          target + ", or press Rebuild in their inspectors.";
    }

    static bool Runs(string package, string version, string target)
    {
        int major, minor;
        ReadVersion(version, out major, out minor);
        foreach (var row in s_Targets)
            if (row.Target == target) return row.Package == package && row.Accepts(major, minor);
        return false;
    }

    // "2.4.0-pre.1" is 2 and 4; what cannot be read is 0.
    static void ReadVersion(string version, out int major, out int minor)
    {
        var parts = version.Split('.', '-');
        int.TryParse(parts[0], out major);
        minor = 0;
        if (parts.Length > 1) int.TryParse(parts[1], out minor);
    }

    #endregion
}

}
