// Moves a finished picture of the network along with the scene until the next one is finished.
//
// "Frame": per pixel of this frame, xy where it came from (texture coordinates now minus those of the frame before),
// z its distance from the camera. "History": xy the same since the network's picture was taken, z its distance in
// this frame, w 1 where that picture shows it and 0 where it does not.
Shader "Hidden/StyleTransfer/Motion"
{
    Properties
    {
        _MainTex("What a pass draws", 2D) = "black" {}
        _Frame("This frame's motion and distance", 2D) = "black" {}
        _History("Motion since the network's picture was taken", 2D) = "black" {}
        _Camera("The camera's picture at this size", 2D) = "black" {}
        _FrameBefore("The frame before", 2D) = "black" {}
        _Before("What was shown in the frame before", 2D) = "black" {}
        _Stability("Its share", Range(0, 1)) = 0
        _DepthCopy("Depth", 2D) = "black" {}
        _MotionCopy("Motion vectors", 2D) = "black" {}
        _EyeDepth("Distance = (x * depth + y) / (z * depth + w)", Vector) = (0, 1, 0, 1)
    }

    CGINCLUDE

    #include "UnityCG.cginc"

    sampler2D _MainTex;
    float4 _MainTex_TexelSize;
    sampler2D_float _Frame;
    sampler2D_float _History;
    sampler2D _Camera;
    sampler2D_float _FrameBefore;
    sampler2D _Before;
    float _Stability;
    sampler2D_float _DepthCopy;
    sampler2D _MotionCopy;
    sampler2D_float _CameraDepthTexture;
    sampler2D _CameraMotionVectorsTexture;
    sampler2D _MotionVectorTexture;
    float4 _EyeDepth;

    // Distances that differ by more than this share belong to different surfaces. Motion towards the camera
    // changes them too: by 3% in a frame for 10 m/s at 60 Hz and 5 m away.
    static const float SurfaceTolerance = 0.1;

    // Where nothing is known of a pixel, its neighbours are asked: on rings of these many pixels, 8 on each.
    static const float RingStep = 3;
    static const int Rings = 3;
    static const int TapsPerRing = 8;

    // How much a neighbour's weight falls with the square of its colour's distance (0..3), in powers of two.
    static const float ColorFalloff = 40;

    // A sum of weights from which on the neighbours alone decide.
    static const float EnoughWeight = 0.25;

    static const float Tau = 6.2831853;

    struct Varyings
    {
        float4 position : SV_POSITION;
        float2 uv : TEXCOORD0;
    };

    Varyings Vertex(appdata_img input)
    {
        Varyings output;
        output.position = UnityObjectToClipPos(input.vertex);
        output.uv = input.texcoord.xy;
        return output;
    }

    float EyeDepth(float depth)
    {
        return (_EyeDepth.x * depth + _EyeDepth.y) / (_EyeDepth.z * depth + _EyeDepth.w);
    }

    float Inside(float2 uv)
    {
        float2 low = step(float2(0, 0), uv);
        float2 high = step(uv, float2(1, 1));
        return low.x * low.y * high.x * high.y;
    }

    float SameSurface(float before, float now)
    {
        return step(abs(before - now), SurfaceTolerance * now);
    }

    float4 FrameOfBuiltIn(Varyings input) : SV_Target
    {
        float2 motion = tex2D(_CameraMotionVectorsTexture, input.uv).xy;
        return float4(motion, EyeDepth(tex2D(_CameraDepthTexture, input.uv).r), 1);
    }

    float4 FrameOfUniversal(Varyings input) : SV_Target
    {
        float2 motion = tex2D(_MotionVectorTexture, input.uv).xy;
        return float4(motion, EyeDepth(tex2D(_CameraDepthTexture, input.uv).r), 1);
    }

    // HDRP marks pixels without motion vectors by a value above 1.
    float4 FrameOfCopies(Varyings input) : SV_Target
    {
        float2 motion = tex2D(_MotionCopy, input.uv).xy;
        motion *= step(motion.x, 1);
        return float4(motion, EyeDepth(tex2D(_DepthCopy, input.uv).r), 1);
    }

    // The network's picture is being taken: nothing has moved yet.
    float4 Begin(Varyings input) : SV_Target
    {
        return float4(0, 0, tex2D(_Frame, input.uv).z, 1);
    }

    // One frame later. _MainTex is the history so far.
    float4 Accumulate(Varyings input) : SV_Target
    {
        float4 frame = tex2D(_Frame, input.uv);
        float2 before = input.uv - frame.xy;
        float4 history = tex2D(_MainTex, before);
        float valid = history.w * Inside(before) * SameSurface(history.z, frame.z);
        return float4(frame.xy + history.xy, frame.z, valid);
    }

    // The network's colour of one neighbour, weighted by how much its pixel looks like this one.
    float4 Neighbour(float2 at, float3 here)
    {
        float4 history = tex2Dlod(_History, float4(at, 0, 0));
        float3 difference = tex2Dlod(_Camera, float4(at, 0, 0)).rgb - here;
        float weight = history.w * Inside(at) * exp2(-ColorFalloff * dot(difference, difference));
        return float4(tex2Dlod(_MainTex, float4(at - history.xy, 0, 0)).rgb, 1) * weight;
    }

    // A pixel that the network's picture does not show: what it made of neighbours that look alike, or the
    // camera's own colour where there are none.
    float3 Uncovered(float2 uv)
    {
        float3 here = tex2Dlod(_Camera, float4(uv, 0, 0)).rgb;
        float4 sum = float4(0, 0, 0, 0);
        for (int ring = 1; ring <= Rings; ring++)
        {
            float2 radius = RingStep * ring * ring * _MainTex_TexelSize.xy;
            for (int tap = 0; tap < TapsPerRing; tap++)
            {
                float angle = (tap + 0.5 * ring) * Tau / TapsPerRing;
                sum += Neighbour(uv + float2(cos(angle), sin(angle)) * radius, here) / ring;
            }
        }
        float3 color = sum.rgb / max(sum.w, 0.0001);
        return lerp(here, color, saturate(sum.w / EnoughWeight));
    }

    // Keeps a share of what was shown of the same surface in the frame before.
    float3 Steady(float2 uv, float3 color)
    {
        float4 frame = tex2D(_Frame, uv);
        float2 before = uv - frame.xy;
        float same = Inside(before) * SameSurface(tex2D(_FrameBefore, before).z, frame.z);
        return lerp(color, tex2D(_Before, before).rgb, _Stability * same);
    }

    // _MainTex is the network's picture.
    float4 Move(Varyings input) : SV_Target
    {
        float4 history = tex2D(_History, input.uv);
        float3 color = tex2D(_MainTex, input.uv - history.xy).rgb;
        if (history.w < 0.5) color = Uncovered(input.uv);
        return float4(Steady(input.uv, color), 1);
    }

    ENDCG

    SubShader
    {
        Cull Off
        ZWrite Off
        ZTest Always

        Pass
        {
            Name "Frame, built-in pipeline"
            CGPROGRAM
            #pragma target 3.0
            #pragma vertex Vertex
            #pragma fragment FrameOfBuiltIn
            ENDCG
        }

        Pass
        {
            Name "Frame, URP"
            CGPROGRAM
            #pragma target 3.0
            #pragma vertex Vertex
            #pragma fragment FrameOfUniversal
            ENDCG
        }

        Pass
        {
            Name "Frame, HDRP"
            CGPROGRAM
            #pragma target 3.0
            #pragma vertex Vertex
            #pragma fragment FrameOfCopies
            ENDCG
        }

        Pass
        {
            Name "Begin"
            CGPROGRAM
            #pragma target 3.0
            #pragma vertex Vertex
            #pragma fragment Begin
            ENDCG
        }

        Pass
        {
            Name "Accumulate"
            CGPROGRAM
            #pragma target 3.0
            #pragma vertex Vertex
            #pragma fragment Accumulate
            ENDCG
        }

        Pass
        {
            Name "Move"
            CGPROGRAM
            #pragma target 3.0
            #pragma vertex Vertex
            #pragma fragment Move
            ENDCG
        }
    }

    Fallback Off
}
