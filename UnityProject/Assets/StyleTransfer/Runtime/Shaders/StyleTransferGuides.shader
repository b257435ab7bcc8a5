// Packs what a network takes beside the colour (its guides) into the channels of textures: the camera's depth and normals,
// a mask and a texture. docs/guides.md of the pipeline says what the values mean.
Shader "Hidden/StyleTransfer/Guides"
{
    Properties
    {
        _MainTex("Camera picture", 2D) = "black" {}
        _DepthCopy("Depth", 2D) = "black" {}
        _NormalsCopy("Normals as HDRP packs them", 2D) = "black" {}
        _GuideMask("Mask", 2D) = "black" {}
        _GuideTexture("Texture", 2D) = "black" {}
        _NormalsSource("0 built-in, 1 URP, 2 a copy from HDRP", Float) = 0
        _DepthSource("0 the camera's depth texture, 1 a copy", Float) = 0
        _EyeDepth("Distance = (x * depth + y) / (z * depth + w)", Vector) = (0, 1, 0, 1)
        _DepthDistance("x: distance at which the depth guide is 1; y: distance of the far plane", Vector) = (1, 1, 0, 0)
        _TapOffset("Offset of the taps, in texture coordinates", Vector) = (0, 0, 0, 0)
    }

    CGINCLUDE

    #include "UnityCG.cginc"

    Texture2D _MainTex;
    float4 _MainTex_TexelSize;
    SamplerState point_clamp_sampler;
    SamplerState linear_clamp_sampler;
    Texture2D<float4> _CameraDepthTexture;
    Texture2D<float4> _CameraDepthNormalsTexture;
    Texture2D<float4> _CameraNormalsTexture;
    Texture2D<float4> _DepthCopy;
    Texture2D<float4> _NormalsCopy;
    Texture2D<float4> _GuideMask;
    Texture2D<float4> _GuideTexture;
    float _NormalsSource;
    float _DepthSource;
    float4 _EyeDepth;
    float4 _DepthDistance;
    float4 _TapOffset;

    // Rows: what each channel of the texture takes of (normal.x, normal.y, normal.z, depth) and of (mask, texture.rgb).
    float4x4 _SceneToFirst;
    float4x4 _OthersToFirst;
    float4x4 _SceneToSecond;
    float4x4 _OthersToSecond;
    float4x4 _WorldToView;

    // The scale of Unity's stereographic projection of view-space normals (UnityCG.cginc).
    static const float StereographicScale = 1.7777;

    // Normals of 12 bits per component in 3 bytes: the third byte has the upper 4 bits of both.
    static const float LargestOf12Bits = 4095;

    // A surface farther than this share of the far plane is the sky.
    static const float Sky = 0.9999;

    // Shorter vectors are no normals: URP clears its texture to 0.
    static const float ShortestNormal = 0.25;

    struct Varyings
    {
        float4 position : SV_POSITION;
        float2 uv : TEXCOORD0;
    };

    // With anti-aliasing on Direct3D-like APIs the camera's picture is upside down, and Graphics.Blit compensates for that
    // only for _MainTex.
    Varyings Vertex(appdata_img input)
    {
        Varyings output;
        output.position = UnityObjectToClipPos(input.vertex);
        output.uv = input.texcoord.xy;
        #if UNITY_UV_STARTS_AT_TOP
        if (_MainTex_TexelSize.y < 0) output.uv.y = 1 - output.uv.y;
        #endif
        return output;
    }

    // 0 for NaN and infinity, detected by their bits: compilers may assume that there are none.
    float Finite(float x)
    {
        return (asuint(x) & 0x7f800000) != 0x7f800000 ? x : 0;
    }

    float RawDepth(float2 uv)
    {
        float fromCamera = _CameraDepthTexture.Sample(point_clamp_sampler, uv).r;
        float fromCopy = _DepthCopy.Sample(point_clamp_sampler, uv).r;
        return Finite(_DepthSource > 0.5 ? fromCopy : fromCamera);
    }

    float Distance(float raw)
    {
        return (_EyeDepth.x * raw + _EyeDepth.y) / (_EyeDepth.z * raw + _EyeDepth.w);
    }

    float3 BuiltInNormal(float2 uv)
    {
        float2 plane = (_CameraDepthNormalsTexture.Sample(point_clamp_sampler, uv).xy * 2 - 1) * StereographicScale;
        float height = 2 / (dot(plane, plane) + 1);
        return float3(plane * height, height - 1);
    }

    // A unit vector from its octahedral projection, both coordinates in 0..1.
    float3 FromOctahedron(float2 share)
    {
        float2 plane = share * 2 - 1;
        float3 normal = float3(plane, 1 - abs(plane.x) - abs(plane.y));
        float below = max(-normal.z, 0);
        normal.x += normal.x >= 0 ? -below : below;
        normal.y += normal.y >= 0 ? -below : below;
        return normalize(normal);
    }

    float3 FromThreeBytes(float3 packed)
    {
        uint3 bytes = (uint3)(packed * 255.5);
        float2 share = float2(bytes.x + (bytes.z & 15u) * 256u, bytes.y + (bytes.z >> 4u) * 256u) / LargestOf12Bits;
        return FromOctahedron(share);
    }

    float3 WorldNormal(float2 uv)
    {
        if (_NormalsSource > 1.5) return FromThreeBytes(_NormalsCopy.Sample(point_clamp_sampler, uv).rgb);
        float3 normal = _CameraNormalsTexture.Sample(point_clamp_sampler, uv).rgb;
        #if defined(_GBUFFER_NORMALS_OCT)
        normal = FromThreeBytes(normal);
        #endif
        return normal;
    }

    // In view space: x right, y up, z towards the camera. Where nothing is drawn, normals face the camera.
    float3 ViewNormal(float2 uv, float eyeDistance)
    {
        float3 normal = _NormalsSource < 0.5 ? BuiltInNormal(uv) : mul((float3x3)_WorldToView, WorldNormal(uv));
        normal = float3(Finite(normal.x), Finite(normal.y), Finite(normal.z));
        bool isNone = dot(normal, normal) < ShortestNormal || eyeDistance > Sky * _DepthDistance.y;
        return isNone ? float3(0, 0, 1) : normalize(normal);
    }

    // Packed normal and depth of one texel, in 0..1.
    float4 Tap(float2 uv)
    {
        float eyeDistance = Distance(RawDepth(uv));
        float depth = saturate(Finite(eyeDistance) / _DepthDistance.x);
        return float4(0.5 * ViewNormal(uv, eyeDistance) + 0.5, depth);
    }

    float4 Scene(float2 uv)
    {
        float4 offset = _TapOffset.xyxy * float4(-1, -1, 1, 1);
        return 0.25 * (Tap(uv + offset.xy) + Tap(uv + offset.zy) + Tap(uv + offset.xw) + Tap(uv + offset.zw));
    }

    float4 Others(float2 uv)
    {
        float mask = _GuideMask.Sample(linear_clamp_sampler, uv).r;
        float4 others = float4(mask, _GuideTexture.Sample(linear_clamp_sampler, uv).rgb);
        return saturate(float4(Finite(others.x), Finite(others.y), Finite(others.z), Finite(others.w)));
    }

    float4 First(Varyings input) : SV_Target
    {
        return mul(_SceneToFirst, Scene(input.uv)) + mul(_OthersToFirst, Others(input.uv));
    }

    float4 Second(Varyings input) : SV_Target
    {
        return mul(_SceneToSecond, Scene(input.uv)) + mul(_OthersToSecond, Others(input.uv));
    }

    ENDCG

    SubShader
    {
        Cull Off
        ZWrite Off
        ZTest Always

        Pass
        {
            Name "First texture"
            CGPROGRAM
            #pragma target 3.5
            #pragma multi_compile _ _GBUFFER_NORMALS_OCT
            #pragma vertex Vertex
            #pragma fragment First
            ENDCG
        }

        Pass
        {
            Name "Second texture"
            CGPROGRAM
            #pragma target 3.5
            #pragma multi_compile _ _GBUFFER_NORMALS_OCT
            #pragma vertex Vertex
            #pragma fragment Second
            ENDCG
        }
    }

    Fallback Off
}
