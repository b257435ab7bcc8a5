// White where an object is in front of everything else. Drawn over the objects that are to be stylised.
Shader "Hidden/StyleTransfer/Mask"
{
    CGINCLUDE

    #include "UnityCG.cginc"

    sampler2D_float _CameraDepthTexture;

    // Set by the code: the camera's own matrix, because each pipeline keeps it under another name.
    float4x4 _StyleViewProjection;
    float4 _StyleEyeDepth;
    float4 _StyleMaskSize;

    // How much farther than the depth texture a pixel may be, as a share: the mask's pixels lie between those of
    // the depth texture, so slanted surfaces would hide themselves.
    static const float DepthBias = 0.02;

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

    float4 Fragment(Varyings input) : SV_Target
    {
        float scene = StyleEyeDepth(tex2D(_CameraDepthTexture, input.position.xy / _StyleMaskSize.xy).r);
        float own = StyleEyeDepth(input.position.z);
        float visible = step(own, scene * (1 + DepthBias));
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
