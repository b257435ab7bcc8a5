// Moves a finished picture of the network along with the scene until the next one is finished.
//
// "Frame": per pixel of this frame, xy where it came from (texture coordinates now minus those of the frame before),
// z its distance from the camera, w 1 where both are known and 0 where they are not. "History": xy the same since the
// network's picture was taken, z its distance in this frame, w 1 where that picture shows it and 0 where it does not.
//
// No pass writes NaN or infinity, whatever it reads: they would spread, and stay.
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

    // How much of a pixel's place in the frame before must be known, on its own surface.
    static const float EnoughPast = 0.25;

    // Where nothing is known of a pixel, its neighbours are asked: on rings of these many pixels, 8 on each.
    static const float RingStep = 3;
    static const int Rings = 3;
    static const int TapsPerRing = 8;

    // How much a neighbour's weight falls with the square of its colour's distance (0..3), in powers of two.
    static const float ColorFalloff = 40;

    // A sum of weights from which on the neighbours alone decide.
    static const float EnoughWeight = 0.25;

    static const float Tau = 6.2831853;

    // Where textures of full precision cannot be drawn, distances are kept in half precision.
    static const float LargestHalf = 65504;

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

    // For the passes that read the camera's textures. With anti-aliasing on Direct3D-like APIs the camera's picture
    // comes upside down, and Graphics.Blit makes up for it for _MainTex alone.
    Varyings VertexOfFrame(appdata_img input)
    {
        Varyings output = Vertex(input);
        #if UNITY_UV_STARTS_AT_TOP
        if (_MainTex_TexelSize.y < 0) output.uv.y = 1 - output.uv.y;
        #endif
        return output;
    }

    // 0 for NaN and infinity, told by its bits: compilers may take for granted that there are none.
    float Finite(float x)
    {
        return (asuint(x) & 0x7f800000) != 0x7f800000 ? 1 : 0;
    }

    float Finite(float4 x)
    {
        return Finite(x.x) * Finite(x.y) * Finite(x.z) * Finite(x.w);
    }

    // What was read from a frame or a history; all 0, so not known, where any of it is not a number.
    float4 Known(float4 x)
    {
        return Finite(x) > 0.5 ? x : float4(0, 0, 0, 0);
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
        return step(abs(before - now), SurfaceTolerance * abs(now));
    }

    float4 Frame(float2 motion, float depth)
    {
        float4 frame = Known(float4(motion, EyeDepth(depth), 1));
        frame.z = min(frame.z, LargestHalf);
        return frame;
    }

    float4 FrameOfBuiltIn(Varyings input) : SV_Target
    {
        float2 motion = tex2D(_CameraMotionVectorsTexture, input.uv).xy;
        return Frame(motion, tex2D(_CameraDepthTexture, input.uv).r);
    }

    float4 FrameOfUniversal(Varyings input) : SV_Target
    {
        float2 motion = tex2D(_MotionVectorTexture, input.uv).xy;
        return Frame(motion, tex2D(_CameraDepthTexture, input.uv).r);
    }

    // HDRP marks pixels without motion vectors by a value above 1.
    float4 FrameOfCopies(Varyings input) : SV_Target
    {
        float2 motion = tex2D(_MotionCopy, input.uv).xy;
        if (motion.x > 1) motion = float2(0, 0);
        return Frame(motion, tex2D(_DepthCopy, input.uv).r);
    }

    // The network's picture is being taken: nothing has moved yet.
    float4 Begin(Varyings input) : SV_Target
    {
        return float4(0, 0, Known(tex2D(_Frame, input.uv)).z, 1);
    }

    // One texel of the history so far: its motion, times how much it counts for a pixel at the distance `now`.
    float3 Past(float2 texel, float now, float share)
    {
        float4 history = Known(tex2D(_MainTex, (texel + 0.5) / _MainTex_TexelSize.zw));
        return float3(history.xy, 1) * (share * history.w * SameSurface(history.z, now));
    }

    // One frame later. _MainTex is the history so far, read between its texels, but not between surfaces: the
    // nearest texel alone would be half a pixel off in each frame. Where no single step leaves the picture, the
    // whole way may.
    float4 Accumulate(Varyings input) : SV_Target
    {
        float4 frame = Known(tex2D(_Frame, input.uv));
        float2 before = input.uv - frame.xy;
        float2 at = before * _MainTex_TexelSize.zw - 0.5;
        float2 corner = floor(at);
        float2 share = at - corner;
        float3 past = Past(corner, frame.z, (1 - share.x) * (1 - share.y));
        past += Past(corner + float2(1, 0), frame.z, share.x * (1 - share.y));
        past += Past(corner + float2(0, 1), frame.z, (1 - share.x) * share.y);
        past += Past(corner + float2(1, 1), frame.z, share.x * share.y);
        float2 motion = frame.xy + past.xy / max(past.z, 0.0001);
        float known = frame.w * step(EnoughPast, past.z) * Inside(before) * Inside(input.uv - motion);
        return float4(motion, frame.z, known);
    }

    // How much the pixel of one neighbour looks like this one; 0 where the network's picture does not show it.
    float Likeness(float2 at, float3 here)
    {
        float4 history = Known(tex2Dlod(_History, float4(at, 0, 0)));
        float4 camera = tex2Dlod(_Camera, float4(at, 0, 0));
        float4 color = tex2Dlod(_MainTex, float4(at - history.xy, 0, 0));
        if (Inside(at) * Finite(camera) * Finite(color) < 0.5) return 0;
        float3 difference = camera.rgb - here;
        return history.w * exp2(-ColorFalloff * dot(difference, difference));
    }

    // What the network's picture has for a pixel of this frame, or nothing where it is not a number.
    float4 Shown(float2 at)
    {
        float4 history = Known(tex2Dlod(_History, float4(at, 0, 0)));
        return Known(tex2Dlod(_MainTex, float4(at - history.xy, 0, 0)));
    }

    // A pixel that the network's picture does not show: what it made of neighbours that look alike, or the
    // camera's own colour, with a mask of 0, where there are none.
    float4 Uncovered(float2 uv)
    {
        float3 here = Known(tex2Dlod(_Camera, float4(uv, 0, 0))).rgb;
        float4 sum = float4(0, 0, 0, 0);
        float weights = 0;
        for (int ring = 1; ring <= Rings; ring++)
        {
            float2 radius = RingStep * ring * ring * _MainTex_TexelSize.xy;
            for (int tap = 0; tap < TapsPerRing; tap++)
            {
                float angle = (tap + 0.5 * ring) * Tau / TapsPerRing;
                float2 at = uv + float2(cos(angle), sin(angle)) * radius;
                float weight = Likeness(at, here) / ring;
                sum += Shown(at) * weight;
                weights += weight;
            }
        }
        return lerp(float4(here, 0), sum / max(weights, 0.0001), saturate(weights / EnoughWeight));
    }

    // Keeps a share of what was shown of the same surface in the frame before; after a cut, when that share is 0,
    // nothing of it is read.
    float4 Steady(float2 uv, float4 color)
    {
        if (_Stability <= 0) return color;
        float4 frame = Known(tex2Dlod(_Frame, float4(uv, 0, 0)));
        float2 before = uv - frame.xy;
        float4 frameBefore = Known(tex2Dlod(_FrameBefore, float4(before, 0, 0)));
        float4 shown = tex2Dlod(_Before, float4(before, 0, 0));
        float same = frame.w * frameBefore.w * Inside(before) * SameSurface(frameBefore.z, frame.z) * Finite(shown);
        return same > 0.5 ? lerp(color, shown, _Stability) : color;
    }

    // _MainTex is the network's picture, with its mask as alpha.
    float4 Move(Varyings input) : SV_Target
    {
        float4 history = Known(tex2Dlod(_History, float4(input.uv, 0, 0)));
        float4 color = tex2Dlod(_MainTex, float4(input.uv - history.xy, 0, 0));
        if (history.w * Finite(color) < 0.5) color = Uncovered(input.uv);
        return Steady(input.uv, color);
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
            #pragma target 3.5
            #pragma vertex VertexOfFrame
            #pragma fragment FrameOfBuiltIn
            ENDCG
        }

        Pass
        {
            Name "Frame, URP"
            CGPROGRAM
            #pragma target 3.5
            #pragma vertex VertexOfFrame
            #pragma fragment FrameOfUniversal
            ENDCG
        }

        Pass
        {
            Name "Frame, HDRP"
            CGPROGRAM
            #pragma target 3.5
            #pragma vertex VertexOfFrame
            #pragma fragment FrameOfCopies
            ENDCG
        }

        Pass
        {
            Name "Begin"
            CGPROGRAM
            #pragma target 3.5
            #pragma vertex Vertex
            #pragma fragment Begin
            ENDCG
        }

        Pass
        {
            Name "Accumulate"
            CGPROGRAM
            #pragma target 3.5
            #pragma vertex Vertex
            #pragma fragment Accumulate
            ENDCG
        }

        Pass
        {
            Name "Move"
            CGPROGRAM
            #pragma target 3.5
            #pragma vertex Vertex
            #pragma fragment Move
            ENDCG
        }
    }

    Fallback Off
}
