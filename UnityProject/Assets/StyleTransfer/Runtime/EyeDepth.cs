using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// Converts the values of a depth texture to distances along the camera's axis, in world units:
/// distance = (x * depth + y) / (z * depth + w).
/// </summary>
/// <remarks>
/// Unity's own _ZBufferParams are not used: HDRP does not set them for shaders of the built-in kind, and they are
/// wrong for orthographic cameras.
/// </remarks>
public static class EyeDepth
{
    /// <summary>The four numbers for a camera.</summary>
    public static Vector4 Of(Camera camera)
      => Of(camera.nearClipPlane, camera.farClipPlane, camera.orthographic, SystemInfo.usesReversedZBuffer);

    /// <summary>The four numbers.</summary>
    /// <param name="near">distance of the near plane</param>
    /// <param name="far">distance of the far plane</param>
    /// <param name="orthographic">parallel instead of central projection</param>
    /// <param name="reversed">the depth texture has 1 at the near plane and 0 at the far plane</param>
    public static Vector4 Of(float near, float far, bool orthographic, bool reversed)
    {
        var range = far - near;
        if (orthographic)
            return reversed ? new Vector4(-range, far, 0, 1) : new Vector4(range, near, 0, 1);

        return reversed ? new Vector4(0, near * far, range, near) : new Vector4(0, near * far, -range, far);
    }
}

}
