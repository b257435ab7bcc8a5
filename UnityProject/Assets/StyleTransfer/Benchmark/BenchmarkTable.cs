using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace StyleTransfer.Benchmark
{

/// <summary>
/// Results as comma-separated values (RFC 4180, with line feeds), one row per style, size and worker. The pipeline
/// reads them: <c>pipeline bench MODEL --import FILE</c>.
/// </summary>
public sealed class BenchmarkTable
{
    #region Public members

    /// <summary>The columns, in order. Readers go by the names; later versions may add some.</summary>
    public static readonly string[] Columns =
    {
        "style", "source", "source_digest", "target", "worker", "width", "height", "network_width", "network_height",
        "warmup_runs", "runs", "median_ms", "p95_ms", "minimum_ms", "mean_ms", "error",
        "device", "graphics_api", "processor", "system", "unity", "engine", "player"
    };

    /// <summary>The table as text, with its head.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        Append(text, Columns);
        foreach (var row in _rows) Append(text, row);
        return text.ToString();
    }

    /// <summary>Adds a row.</summary>
    /// <param name="what">style, source, source_digest, target, worker</param>
    /// <param name="sizes">width, height, network_width, network_height, in pixels; 0 where nothing ran</param>
    /// <param name="warmupRuns">runs before the first that counts</param>
    /// <param name="samples">the times; none where the case failed</param>
    /// <param name="error">why it failed; empty where it did not</param>
    /// <param name="machine">device, graphics_api, processor, system, unity, engine, player</param>
    public void Add(string[] what, int[] sizes, int warmupRuns, BenchmarkSamples samples, string error,
                    string[] machine)
    {
        var row = new List<string>(Columns.Length);
        row.AddRange(what);
        foreach (var size in sizes) row.Add(Number(size));
        row.Add(Number(warmupRuns));
        row.Add(Number(samples.Count));

        // A case without times has empty cells, which no reader takes for a time of zero.
        var ran = samples.Count > 0;
        row.Add(ran ? Number(samples.Median) : "");
        row.Add(ran ? Number(samples.Percentile(HighPercentile)) : "");
        row.Add(ran ? Number(samples.Minimum) : "");
        row.Add(ran ? Number(samples.Mean) : "");

        row.Add(error);
        row.AddRange(machine);
        _rows.Add(row.ToArray());
    }

    #endregion

    #region Private members

    const double HighPercentile = 0.95;

    readonly List<string[]> _rows = new List<string[]>();

    static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    static string Number(double value) => value.ToString("0.####", CultureInfo.InvariantCulture);

    static void Append(StringBuilder text, string[] cells)
    {
        for (var i = 0; i < cells.Length; i++)
        {
            if (i > 0) text.Append(',');
            text.Append(Quote(cells[i] ?? ""));
        }
        text.Append('\n');
    }

    static string Quote(string cell)
      => cell.IndexOfAny(Special) < 0 ? cell : "\"" + cell.Replace("\"", "\"\"") + "\"";

    static readonly char[] Special = { ',', '"', '\n', '\r' };

    #endregion
}

}
