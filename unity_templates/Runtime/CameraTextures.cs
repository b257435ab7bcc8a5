using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// The depth, normals and motion vectors that a component requests from its camera in the built-in render pipeline. Flags that
/// others have set are not changed.
/// </summary>
sealed class CameraTextures
{
    #region Public members

    /// <summary>Requests what the camera's next picture needs, and withdraws other requests.</summary>
    public void Request(Camera camera, bool motion, bool depth, bool normals)
    {
        var wanted = DepthTextureMode.None;
        if (motion && SystemInfo.supportsMotionVectors) wanted = Motion;
        if (depth) wanted |= DepthTextureMode.Depth;
        if (normals) wanted |= DepthTextureMode.DepthNormals;

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

    /// <summary>Whether a camera's picture comes with normals.</summary>
    public static bool HasNormals(Camera camera) => (camera.depthTextureMode & DepthTextureMode.DepthNormals) != 0;

    #endregion

    #region Private members

    // To tell surfaces apart, motion needs depth.
    const DepthTextureMode Motion = DepthTextureMode.Depth | DepthTextureMode.MotionVectors;

    DepthTextureMode _added;

    #endregion
}

}
