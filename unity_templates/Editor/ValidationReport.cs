using System;

namespace StyleTransfer.Editor
{

/// <summary>
/// What <c>pipeline validate --json</c> says, schema 1 (docs/schema/validate-1.json of the pipeline).
/// </summary>
[Serializable]
public sealed class ValidationReport
{
    /// <summary>Why a file could not be read.</summary>
    [Serializable]
    public sealed class Error
    {
        /// <summary>Stable code; empty where there is no error.</summary>
        public string code;

        /// <summary>What is wrong.</summary>
        public string message;

        /// <summary>What to do about it.</summary>
        public string remedy;
    }

    /// <summary>The verdict on one file.</summary>
    [Serializable]
    public sealed class FileVerdict
    {
        /// <summary>The verdict and the number of findings, in words.</summary>
        public string summary;

        /// <summary>unreadable, fails, wrong, warns or right.</summary>
        public string verdict;

        /// <summary>Why the file cannot be read.</summary>
        public Error error;

        /// <summary>Worst first.</summary>
        public PipelineFinding[] findings;
    }

    /// <summary>The verdicts, one per file and target.</summary>
    public FileVerdict[] files;

    /// <summary>Reads the JSON; null where it is none of this kind.</summary>
    public static ValidationReport Parse(string json)
    {
        var report = PipelineJson.Parse<ValidationReport>(json);
        return report != null && report.files != null && report.files.Length > 0 ? report : null;
    }
}

}
