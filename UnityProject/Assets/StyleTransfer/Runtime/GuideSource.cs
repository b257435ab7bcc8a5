namespace StyleTransfer
{

/// <summary>
/// Where a camera's depth and normals come from, for networks that take them as guides.
/// </summary>
public enum GuideSource
{
    /// <summary>The built-in pipeline's _CameraDepthTexture and _CameraDepthNormalsTexture.</summary>
    BuiltIn,
    /// <summary>URP's _CameraDepthTexture and _CameraNormalsTexture, from URP 12 on.</summary>
    Universal,
    /// <summary>URP's _CameraDepthTexture; there are no normals that can be used.</summary>
    DepthOnly,
    /// <summary>Copies of HDRP's depth and normal buffer.</summary>
    Copies
}

}
