// White where an object is in front of everything else. Drawn over the objects that are to be stylised.
Shader "Hidden/StyleTransfer/Mask"
{
    CGINCLUDE

    #include "UnityCG.cginc"

    sampler2D_float _CameraDepthTexture;
    float4 _CameraDepthTexture_TexelSize;

    // Set by the code: the camera's own matrix, because each pipeline keeps it under another name.
    float4x4 _StyleViewProjection;
    float4 _StyleEyeDepth;
    float4 _StyleMaskSize;

    // How much farther than the depth texture a pixel may be, as a share: rounding.
    static const float DepthBias = 0.02;

    // The mask's pixels lie between those of the depth texture. Of the four around, in texels, the farthest counts:
    // else slanted surfaces would hide themselves.
    static const float Around = 0.49;

    struct Varyings
    {
        float4 position : SV_POSITION;
    };

    Varyings Vertex(float4 vertex : POSITION)
    {
        Varyings output;
        output.position = mul(_StyleViewProjection, mul(unity_ObjectToWorld, float4(vertex.xyz, 1)));
        return output;
    }

    float StyleEyeDepth(float depth)
    {
        return (_StyleEyeDepth.x * depth + _StyleEyeDepth.y) / (_StyleEyeDepth.z * depth + _StyleEyeDepth.w);
    }

    float SceneDistance(float2 uv)
    {
        return StyleEyeDepth(tex2D(_CameraDepthTexture, uv).r);
    }

    // 0 where the depth is not a number: something may be in front.
    float4 Fragment(Varyings input) : SV_Target
    {
        float2 uv = input.position.xy / _StyleMaskSize.xy;
        float2 around = Around * _CameraDepthTexture_TexelSize.xy;
        float low = max(SceneDistance(uv - around), SceneDistance(uv + around));
        float2 mirrored = float2(around.x, -around.y);
        float high = max(SceneDistance(uv - mirrored), SceneDistance(uv + mirrored));
        float scene = max(low, high);
        float own = StyleEyeDepth(input.position.z);
        float visible = own <= scene + DepthBias * abs(scene) ? 1 : 0;
        return float4(visible, visible, visible, 1);
    }

    ENDCG

    SubShader
    {
        Cull Off

        Pass
        {
            CGPROGRAM
            #pragma target 3.0
            #pragma vertex Vertex
            #pragma fragment Fragment
            ENDCG
        }
    }

    Fallback Off
}
