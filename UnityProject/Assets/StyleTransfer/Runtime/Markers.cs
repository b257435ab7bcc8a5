using Unity.Profiling;

namespace StyleTransfer
{

/// <summary>
/// The steps of a frame, as Unity's Profiler names them.
/// </summary>
static class Markers
{
    /// <summary>A network is loaded, and its worker made.</summary>
    public static readonly ProfilerMarker Load = new ProfilerMarker("StyleTransfer.Load");

    /// <summary>The camera's picture is taken, and the scene's motion noted.</summary>
    public static readonly ProfilerMarker Observe = new ProfilerMarker("StyleTransfer.Observe");

    /// <summary>Layers of the network are given to the worker.</summary>
    public static readonly ProfilerMarker Run = new ProfilerMarker("StyleTransfer.Run");

    /// <summary>The network's last picture is moved, blended and drawn.</summary>
    public static readonly ProfilerMarker Compose = new ProfilerMarker("StyleTransfer.Compose");

    /// <summary>The mask of the stylised layers is drawn.</summary>
    public static readonly ProfilerMarker Mask = new ProfilerMarker("StyleTransfer.Mask");
}

}
