using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// What a component asks of its camera in the built-in render pipeline, depth and motion vectors, and takes back:
/// flags that somebody else has set are left alone.
/// </summary>
sealed class CameraTextures
{
    #region Public members

    /// <summary>Asks for what the camera's next picture needs; what is no longer needed is taken back.</summary>
    public void Request(Camera camera, bool motion, bool depth)
    {
        var wanted = DepthTextureMode.None;
        if (motion && SystemInfo.supportsMotionVectors) wanted = Motion;
        if (depth) wanted |= DepthTextureMode.Depth;

        var dropped = _added & ~wanted;
        var added = wanted & ~camera.depthTextureMode;
        if (dropped == 0 && added == 0) return;
        camera.depthTextureMode = (camera.depthTextureMode & ~dropped) | added;
        _added = (_added & ~dropped) | added;
    }

    /// <summary>Whether a camera's picture comes with motion vectors and depth.</summary>
    public static bool HasMotion(Camera camera) => (camera.depthTextureMode & Motion) == Motion;

    /// <summary>Whether a camera's picture comes with depth.</summary>
    public static bool HasDepth(Camera camera) => (camera.depthTextureMode & DepthTextureMode.Depth) != 0;

    #endregion

    #region Private members

    // To tell surfaces apart, motion needs depth.
    const DepthTextureMode Motion = DepthTextureMode.Depth | DepthTextureMode.MotionVectors;

    DepthTextureMode _added;

    #endregion
}

}
