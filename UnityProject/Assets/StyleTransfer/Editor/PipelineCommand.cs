using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Text;
using UnityEditor;

namespace StyleTransfer.Editor
{

/// <summary>
/// One run of the command line tool <c>pipeline</c> in the background; the editor stays usable. Scripts are not
/// reloaded before it ends, because a reload would lose it.
/// </summary>
public sealed class PipelineCommand : IDisposable
{
    #region Public members

    /// <summary>How the run ended: the exit code of the tool, or -1 where it could not be started.</summary>
    public int ExitCode { get; private set; }

    /// <summary>What the tool printed for programs.</summary>
    public string Output => Read(_output);

    /// <summary>What the tool printed for people.</summary>
    public string Messages => Read(_messages);

    /// <summary>Whether it still runs.</summary>
    public bool IsRunning => _process != null;

    /// <summary>Starts the tool.</summary>
    /// <param name="arguments">one word of the command line each, unquoted</param>
    /// <param name="finished">called once on the main thread; never where the run is disposed first</param>
    public PipelineCommand(IEnumerable<string> arguments, Action<PipelineCommand> finished)
    {
        _finished = finished;
        Allocate(Arguments(PipelinePreferences.Command, arguments));
    }

    /// <summary>Ends the tool if it still runs.</summary>
    public void Dispose()
    {
        if (_process == null) return;
        try
        {
            if (!_process.HasExited) _process.Kill();
        }
        catch (InvalidOperationException) {} // it has just ended
        Deallocate();
    }

    /// <summary>
    /// The arguments as one text that the tool reads back as the same words, by the rules of the C runtime on
    /// Windows, which mono follows on every system.
    /// </summary>
    public static string Join(IEnumerable<string> arguments)
    {
        var text = new StringBuilder();
        foreach (var argument in arguments)
        {
            if (text.Length > 0) text.Append(' ');
            Quote(argument, text);
        }
        return text.ToString();
    }

    /// <summary>The arguments after the executable; for Python, these include the module to run.</summary>
    public static string Arguments(string command, IEnumerable<string> arguments)
    {
        var name = Path.GetFileNameWithoutExtension(command);
        var isPython = name.StartsWith("python", StringComparison.OrdinalIgnoreCase) || name == "py";
        return (isPython ? "-m pipeline " : "") + Join(arguments);
    }

    #endregion

    #region Private objects

    readonly StringBuilder _output = new StringBuilder();
    readonly StringBuilder _messages = new StringBuilder();
    readonly Action<PipelineCommand> _finished;

    Process _process;

    #endregion

    #region Allocate / deallocate

    const int NotStarted = -1;

    void Allocate(string arguments)
    {
        var start = new ProcessStartInfo(PipelinePreferences.Command, arguments);
        start.UseShellExecute = false;
        start.CreateNoWindow = true;
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        start.StandardOutputEncoding = Encoding.UTF8;
        start.StandardErrorEncoding = Encoding.UTF8;
        start.EnvironmentVariables["PYTHONUTF8"] = "1";
        start.EnvironmentVariables["NO_COLOR"] = "1";

        _process = new Process();
        _process.StartInfo = start;
        _process.OutputDataReceived += (sender, line) => Append(_output, line.Data);
        _process.ErrorDataReceived += (sender, line) => Append(_messages, line.Data);

        EditorApplication.LockReloadAssemblies();
        EditorApplication.update += Poll;

        try
        {
            _process.Start();
            _process.BeginOutputReadLine();
            _process.BeginErrorReadLine();
        }
        catch (Exception exception)
        {
            // Win32Exception: it does not exist or cannot be run. After any exception, the editor must not stay locked.
            Append(_messages, "The command '" + PipelinePreferences.Command + "' could not be started (" +
              exception.Message + "). Install the pipeline, and set its full path in " +
              PipelinePreferences.Place + ".");
            ExitCode = NotStarted;
            _failed = true;
        }
    }

    void Deallocate()
    {
        EditorApplication.update -= Poll;
        EditorApplication.UnlockReloadAssemblies();
        _process.Dispose();
        _process = null;
    }

    #endregion

    #region Private methods

    bool _failed;

    void Poll()
    {
        if (!_failed)
        {
            if (!_process.HasExited) return;
            _process.WaitForExit(); // for the rest of its output
            ExitCode = _process.ExitCode;
        }

        Deallocate();
        _finished(this);
    }

    // Lines come on other threads.
    static void Append(StringBuilder text, string line)
    {
        if (line == null) return;
        lock (text) text.Append(line).Append('\n');
    }

    static string Read(StringBuilder text)
    {
        lock (text) return text.ToString();
    }

    static void Quote(string word, StringBuilder text)
    {
        if (word.Length > 0 && word.IndexOfAny(Special) < 0)
        {
            text.Append(word);
            return;
        }

        text.Append('"');
        var backslashes = 0;
        foreach (var letter in word)
        {
            // Backslashes count double in front of a quote, and once elsewhere.
            if (letter == '"') text.Append('\\', backslashes + 1);
            backslashes = letter == '\\' ? backslashes + 1 : 0;
            text.Append(letter);
        }
        text.Append('\\', backslashes).Append('"');
    }

    static readonly char[] Special = { ' ', '\t', '\n', '"', '\'' };

    #endregion
}

}
