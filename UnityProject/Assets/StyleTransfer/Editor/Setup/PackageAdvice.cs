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

    /// <summary>The package that runs the networks.</summary>
    public const string Package = "com.unity.barracuda";

    /// <summary>The newest target, and what a project without styles gets.</summary>
    public const string NewestTarget = "barracuda-3.0";

    /// <summary>The version of the package that a target stands for; null for a target that is not known.</summary>
    /// <param name="target">such as <c>barracuda-3.0</c></param>
    public static string VersionOf(string target)
    {
        if (target == "barracuda-3.0") return "3.0.0";
        if (target == "barracuda-2.0") return "2.0.0";
        if (target == "barracuda-1.0") return "1.0.4";
        return null;
    }

    /// <summary>
    /// The target in the text of a style's <c>.asset</c> file; null where the text holds none. Read as text,
    /// because the class of the asset is not compiled where the package is missing.
    /// </summary>
    public static string ReadTarget(string assetText)
    {
        foreach (var line in assetText.Split('\n'))
            if (line.StartsWith(TargetKey, StringComparison.Ordinal))
                return line.Substring(TargetKey.Length).Trim().Trim('"');
        return null;
    }

    /// <summary>One sentence per problem, each with what to do; null where all is well.</summary>
    /// <param name="installed">target of the installed package; null where it is not installed</param>
    /// <param name="hasSentis">whether com.unity.sentis or com.unity.ai.inference is installed too</param>
    /// <param name="targets">what each style of the project was built for, by the name of the style</param>
    public static string Find(string installed, bool hasSentis, IDictionary<string, string> targets)
    {
        var wanted = WantedTarget(targets);

        if (installed == null)
            return "the package " + Package + " is not installed, so nothing in the folder StyleTransfer is " +
              "compiled. Choose Style Transfer > Install Barracuda, or add version " + VersionOf(wanted) +
              " in the Package Manager by name.";

        var problems = new List<string>();

        if (hasSentis)
            problems.Add("com.unity.sentis (later com.unity.ai.inference) is installed beside " + Package + ". Both " +
              "import .onnx files, and only one of them can. Remove one in the Package Manager.");

        var strangers = new List<string>();
        foreach (var pair in targets)
            if (pair.Value != installed) strangers.Add(pair.Key + " (" + pair.Value + ")");
        strangers.Sort(StringComparer.Ordinal);

        if (strangers.Count > 0)
            problems.Add(Package + " " + VersionOf(installed) + " is installed, but these styles were built for " +
              "another version: " + string.Join(", ", strangers.ToArray()) + ". They may import with errors or " +
              "look wrong. Build them with --target " + installed + ", or press Rebuild in their inspectors.");

        return problems.Count > 0 ? string.Join(" ", problems.ToArray()) : null;
    }

    /// <summary>The newest target that a style of the project was built for.</summary>
    public static string WantedTarget(IDictionary<string, string> targets)
    {
        string wanted = null;
        foreach (var target in targets.Values)
            if (VersionOf(target) != null && string.CompareOrdinal(target, wanted) > 0) wanted = target;
        return wanted ?? NewestTarget;
    }

    #endregion

    #region Private members

    // As the pipeline and Unity write a field of a ScriptableObject.
    const string TargetKey = "  target: ";

    #endregion
}

}
