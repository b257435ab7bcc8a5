// Between a camera's picture and a style network's: size, colour space, blend.
Shader "Hidden/StyleTransfer/Convert"
{
    Properties
    {
        _MainTex("Camera picture", 2D) = "black" {}
        _Stylized("Network's picture", 2D) = "black" {}
        _Mask("Where to show it", 2D) = "white" {}
        _Masked("1 where the mask counts", Float) = 0
        _Strength("Blend", Range(0, 1)) = 1
        _KeepColors("Share of the camera's own colours", Range(0, 1)) = 0
        _NetworkMask("Picture of a network that gives a mask", 2D) = "white" {}
        _NetworkMasked("1 where its mask, as alpha of the network's picture, counts", Float) = 0
        _InvertMask("1 shows the style where that mask is 0", Float) = 0
        _TapOffset("Offset of the taps, in texture coordinates", Vector) = (0, 0, 0, 0)
        _LinearProject("1 in a project of linear colour space", Float) = 0
        _Grey("1 for a network that sees grey", Float) = 0
    }

    CGINCLUDE

    #include "UnityCG.cginc"

    // Texel by texel: a filtering sampler would turn infinity in a neighbouring texel into NaN, by its weight of 0.
    Texture2D _MainTex;
    SamplerState point_clamp_sampler;
    float4 _MainTex_TexelSize;
    sampler2D _Stylized;
    sampler2D _Mask;
    float _Masked;
    float _Strength;
    float _KeepColors;
    sampler2D _NetworkMask;
    float _NetworkMasked;
    float _InvertMask;
    float4 _TapOffset;
    float _LinearProject;
    float _Grey;

    static const float LargestHalf = 65504;

    // Luma of ITU-R BT.601, of sRGB values.
    static const float LumaRed = 0.299;
    static const float LumaGreen = 0.587;
    static const float LumaBlue = 0.114;

    struct Varyings
    {
        float4 position : SV_POSITION;
        float2 uv : TEXCOORD0;
        float2 uvStylized : TEXCOORD1;
    };

    Varyings Vertex(appdata_img input)
    {
        Varyings output;
        output.position = UnityObjectToClipPos(input.vertex);
        output.uv = input.texcoord.xy;
        output.uvStylized = input.texcoord.xy;

        // With anti-aliasing on Direct3D-like APIs the camera's picture is upside down, and Graphics.Blit
        // compensates for that only for _MainTex.
        #if UNITY_UV_STARTS_AT_TOP
        if (_MainTex_TexelSize.y < 0) output.uvStylized.y = 1 - output.uvStylized.y;
        #endif

        return output;
    }

    // The transfer functions of IEC 61966-2-1 (sRGB), exact, not UnityCG's approximations.

    float3 LinearToSrgb(float3 color)
    {
        float3 low = color * 12.92;
        float3 high = 1.055 * pow(max(color, 0.0031308), 1 / 2.4) - 0.055;
        return lerp(high, low, step(color, 0.0031308));
    }

    float3 SrgbToLinear(float3 color)
    {
        float3 low = color / 12.92;
        float3 high = pow((max(color, 0.04045) + 0.055) / 1.055, 2.4);
        return lerp(high, low, step(color, 0.04045));
    }

    // NaN and infinity in a camera's picture, where a shader divided by zero or was too bright for half precision, would
    // spread to neighbouring pixels: NaN becomes 0, infinity the largest half. They are detected by their bits, because
    // compilers may assume that there is no NaN.
    float Number(float x)
    {
        return (asuint(x) & 0x7fffffff) > 0x7f800000 ? 0 : clamp(x, -LargestHalf, LargestHalf);
    }

    float4 Number(float4 x)
    {
        return float4(Number(x.r), Number(x.g), Number(x.b), Number(x.a));
    }

    // Highlights above 1 are clipped before any averaging, so that one of them cannot whiten its neighbours.
    float3 Texel(float2 texel)
    {
        float2 uv = (texel + 0.5) / _MainTex_TexelSize.zw;
        return saturate(Number(_MainTex.Sample(point_clamp_sampler, uv)).rgb);
    }

    // Bilinear, of the clipped texels: a sampler would average before clipping.
    float3 Tap(float2 uv)
    {
        float2 at = uv * _MainTex_TexelSize.zw - 0.5;
        float2 corner = floor(at);
        float2 share = at - corner;
        float3 low = lerp(Texel(corner), Texel(corner + float2(1, 0)), share.x);
        float3 high = lerp(Texel(corner + float2(0, 1)), Texel(corner + float2(1, 1)), share.x);
        return lerp(low, high, share.y);
    }

    float4 ToNetwork(Varyings input) : SV_Target
    {
        float4 offset = _TapOffset.xyxy * float4(-1, -1, 1, 1);
        float3 color = Tap(input.uv + offset.xy) + Tap(input.uv + offset.zy);
        color += Tap(input.uv + offset.xw) + Tap(input.uv + offset.zw);
        color *= 0.25;
        color = lerp(color, LinearToSrgb(color), _LinearProject);
        float3 grey = float3(1, 1, 1) * (dot(color, float3(1, 1, 1)) / 3);
        return float4(lerp(color, grey, _Grey), 1);
    }

    float Luma(float3 color)
    {
        return dot(color, float3(LumaRed, LumaGreen, LumaBlue));
    }

    // The camera's hue and saturation in the brightness of the style: luma of one, colour differences of the other.
    float3 InOwnColors(float3 camera, float3 color)
    {
        return saturate(camera + (Luma(color) - Luma(camera)));
    }

    float4 FromNetwork(Varyings input) : SV_Target
    {
        float4 source = Number(_MainTex.Sample(point_clamp_sampler, input.uv));
        float4 picture = Number(tex2D(_Stylized, input.uvStylized));
        float3 color = saturate(picture.rgb);
        float3 camera = saturate(source.rgb);
        camera = lerp(camera, LinearToSrgb(camera), _LinearProject);
        color = lerp(color, InOwnColors(camera, color), _KeepColors);
        color = lerp(color, SrgbToLinear(color), _LinearProject);
        float strength = _Strength * lerp(1, saturate(Number(tex2D(_Mask, input.uvStylized).r)), _Masked);
        strength *= lerp(1, saturate(picture.a), _NetworkMasked);
        return float4(lerp(source.rgb, color, strength), source.a);
    }

    // _MainTex is the style network's picture; what a mask network made of the same frame becomes its alpha.
    float4 Join(Varyings input) : SV_Target
    {
        float3 color = _MainTex.Sample(point_clamp_sampler, input.uv).rgb;
        float mask = saturate(Number(tex2D(_NetworkMask, input.uv)).r);
        return float4(color, lerp(mask, 1 - mask, _InvertMask));
    }

    ENDCG

    SubShader
    {
        Cull Off
        ZWrite Off
        ZTest Always

        Pass
        {
            Name "To network"
            CGPROGRAM
            #pragma target 3.5
            #pragma vertex Vertex
            #pragma fragment ToNetwork
            ENDCG
        }

        Pass
        {
            Name "From network"
            CGPROGRAM
            #pragma target 3.5
            #pragma vertex Vertex
            #pragma fragment FromNetwork
            ENDCG
        }

        Pass
        {
            Name "Join"
            CGPROGRAM
            #pragma target 3.5
            #pragma vertex Vertex
            #pragma fragment Join
            ENDCG
        }
    }

    Fallback Off
}
