// Draws the objects that are to be stylised: white where such an object is visible.
Shader "Hidden/StyleTransfer/Mask"
{
    HLSLINCLUDE

    // No include files: those of the built-in pipeline do not know how the GPU Resident Drawer stores objects, and those
    // of URP do not exist in projects without URP.

    float4x4 unity_ObjectToWorld;
    Texture2D<float4> _CameraDepthTexture;
    SamplerState sampler_CameraDepthTexture;
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

    struct Attributes
    {
        float4 position : POSITION;
        uint instance : SV_InstanceID;
    };

    struct Varyings
    {
        float4 position : SV_POSITION;
    };

    #if defined(DOTS_INSTANCING_ON) && UNITY_VERSION >= 60000000

    // Objects of the GPU Resident Drawer have their matrices in a buffer of Unity 6. The names and the layout are those of
    // UnityDOTSInstancing.hlsl of com.unity.render-pipelines.core 17.

    struct DOTSVisibleData
    {
        uint4 VisibleData;
    };

    cbuffer UnityInstancingDOTS_InstanceVisibility
    {
        DOTSVisibleData unity_DOTSVisibleInstances[256];
    };

    cbuffer UnityDOTSInstancing_BuiltinPropertyMetadata
    {
        uint unity_DOTSInstancingF48_Metadataunity_ObjectToWorld;
    };

    ByteAddressBuffer unity_DOTSInstanceData;
    ByteAddressBuffer unity_DOTSInstancing_IndirectInstanceVisibility;

    // The highest bit of an offset into the list of visible instances, and of the place of a property.
    static const uint IsIndirect = 0x80000000;
    static const uint IsPerInstance = 0x80000000;

    // A flag of a draw: the highest byte of each index is the share of a level of detail.
    static const uint HasCrossFade = 32;
    static const uint IndexOfCrossFade = 0x00ffffff;

    // Three rows of four numbers.
    static const uint MatrixBytes = 48;

    uint ObjectIndex(uint instance)
    {
        uint4 draw = unity_DOTSVisibleInstances[0].VisibleData;
        uint index;
        if (draw.y != 0)
            index = unity_DOTSInstancing_IndirectInstanceVisibility.Load(((draw.y & ~IsIndirect) + instance) * 4u);
        else
            index = unity_DOTSVisibleInstances[instance].VisibleData.x;
        return (draw.w & HasCrossFade) != 0 ? index & IndexOfCrossFade : index;
    }

    // Kept by columns.
    float4x4 ObjectToWorld(uint instance)
    {
        uint place = unity_DOTSInstancingF48_Metadataunity_ObjectToWorld;
        uint address = place & ~IsPerInstance;
        if ((place & IsPerInstance) != 0) address += ObjectIndex(instance) * MatrixBytes;
        float4 a = asfloat(unity_DOTSInstanceData.Load4(address));
        float4 b = asfloat(unity_DOTSInstanceData.Load4(address + 16u));
        float4 c = asfloat(unity_DOTSInstanceData.Load4(address + 32u));
        return float4x4(a.x, a.w, b.z, c.y, a.y, b.x, b.w, c.z, a.z, b.y, c.x, c.w, 0, 0, 0, 1);
    }

    #else

    float4x4 ObjectToWorld(uint instance)
    {
        return unity_ObjectToWorld;
    }

    #endif

    Varyings Vertex(Attributes input)
    {
        Varyings output;
        float4 world = mul(ObjectToWorld(input.instance), float4(input.position.xyz, 1));
        output.position = mul(_StyleViewProjection, world);
        return output;
    }

    float StyleEyeDepth(float depth)
    {
        return (_StyleEyeDepth.x * depth + _StyleEyeDepth.y) / (_StyleEyeDepth.z * depth + _StyleEyeDepth.w);
    }

    float SceneDistance(float2 uv)
    {
        return StyleEyeDepth(_CameraDepthTexture.Sample(sampler_CameraDepthTexture, uv).r);
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

    ENDHLSL

    SubShader
    {
        Cull Off

        Pass
        {
            HLSLPROGRAM
            #pragma target 4.5
            #pragma exclude_renderers gles gles3 glcore
            #pragma multi_compile _ DOTS_INSTANCING_ON
            #pragma vertex Vertex
            #pragma fragment Fragment
            ENDHLSL
        }
    }

    // The GPU Resident Drawer is not for these machines.
    SubShader
    {
        Cull Off

        Pass
        {
            HLSLPROGRAM
            #pragma target 3.5
            #pragma vertex Vertex
            #pragma fragment Fragment
            ENDHLSL
        }
    }

    Fallback Off
}
