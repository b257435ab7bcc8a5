// Moves a finished picture of the network along with the scene until the next one is finished, or shows frames between two
// of them.
//
// "Frame": per pixel of this frame, xy where it came from (texture coordinates now minus those of the frame before),
// z its distance from the camera, w 1 where both are known and 0 where they are not. "History": xy the same since the
// network's picture was taken, z its distance in this frame, w 1 where that picture shows it and 0 where it does not.
//
// No pass writes NaN or infinity, even if it reads them: they would spread, and persist.
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
        _KeyAfter("The network's picture after the frame shown", 2D) = "black" {}
        _Frames("The frames that are kept, in tiles", 2D) = "black" {}
        _Tiles("Columns, rows, frames that are kept, the tile of the frame shown", Vector) = (1, 1, 1, 0)
        _Way("Frames back to _MainTex, and on to _KeyAfter; the share of that", Vector) = (0, 0, 0, 0)
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
    sampler2D _KeyAfter;
    sampler2D_float _Frames;
    float4 _Frames_TexelSize;
    float4 _Tiles;
    float4 _Way;

    // Distances that differ by more than this share belong to different surfaces. Motion towards the camera
    // changes them too: by 3% in a frame for 10 m/s at 60 Hz and 5 m away.
    static const float SurfaceTolerance = 0.1;

    // How much of a pixel's place in the frame before must be known, on its own surface.
    static const float EnoughPast = 0.25;

    // If nothing is known about a pixel, its neighbours are used: 8 on each of two rings with these radii in pixels.
    static const float RingStep = 3;
    static const int Rings = 3;
    static const int TapsPerRing = 8;

    // How much a neighbour's weight falls with the square of its colour's distance (0..3), in powers of two.
    static const float ColorFalloff = 40;

    // How far a guess of where something is in the next frame may be off, in pixels.
    static const float WellGuessed = 1;

    // A sum of weights above which only the neighbours decide.
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
    // is upside down, and Graphics.Blit compensates for that only for _MainTex.
    Varyings VertexOfFrame(appdata_img input)
    {
        Varyings output = Vertex(input);
        #if UNITY_UV_STARTS_AT_TOP
        if (_MainTex_TexelSize.y < 0) output.uv.y = 1 - output.uv.y;
        #endif
        return output;
    }

    // 0 for NaN and infinity, detected by its bits: compilers may take for granted that there are none.
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

    // One frame later. _MainTex is the history so far. It is interpolated between texels of the same surface: the
    // nearest texel only would be off by up to half a pixel in each frame. The whole motion may leave the picture even
    // if no single step does.
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

    // One texel of a picture that is moved already.
    float4 Moved(float2 at)
    {
        float2 texel = floor(at * _MainTex_TexelSize.zw) + 0.5;
        return tex2Dlod(_MainTex, float4(texel * _MainTex_TexelSize.xy, 0, 0));
    }

    // How much of a pixel of this frame the network's picture shows. `isMoved`: it is moved already, and its alpha is below
    // 0 where it shows nothing.
    float Seen(float2 at, float isMoved)
    {
        if (isMoved > 0.5) return step(0, Moved(at).a);
        float4 history = Known(tex2Dlod(_History, float4(at, 0, 0)));
        return history.w * Finite(tex2Dlod(_MainTex, float4(at - history.xy, 0, 0)));
    }

    // What it shows there, or nothing where that is not a number.
    float4 Shown(float2 at, float isMoved)
    {
        if (isMoved > 0.5) return Moved(at);
        float4 history = Known(tex2Dlod(_History, float4(at, 0, 0)));
        return Known(tex2Dlod(_MainTex, float4(at - history.xy, 0, 0)));
    }

    // How much the pixel of one neighbour looks like this one; 0 where the network's picture does not show it.
    float Likeness(float2 at, float3 here, float isMoved)
    {
        float4 camera = tex2Dlod(_Camera, float4(at, 0, 0));
        if (Inside(at) * Finite(camera) < 0.5) return 0;
        float3 difference = camera.rgb - here;
        return Seen(at, isMoved) * exp2(-ColorFalloff * dot(difference, difference));
    }

    // A pixel that the network's picture does not show: what it made of neighbours that look alike, or the
    // camera's own colour, with a mask of 0, where there are none.
    float4 Uncovered(float2 uv, float isMoved)
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
                float weight = Likeness(at, here, isMoved) / ring;
                sum += Shown(at, isMoved) * weight;
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
        if (history.w * Finite(color) < 0.5) color = Uncovered(input.uv, 0);
        return Steady(input.uv, color);
    }

    float2 SizeOfFrames()
    {
        return _Frames_TexelSize.zw / _Tiles.xy;
    }

    // One texel of a frame that is kept, so many frames after the one shown.
    float4 Kept(float2 texel, float after)
    {
        float2 size = SizeOfFrames();
        float tile = _Tiles.w + after;
        tile -= _Tiles.z * floor((tile + 0.5) / _Tiles.z);
        float row = floor((tile + 0.5) / _Tiles.x);
        float2 corner = float2(tile - row * _Tiles.x, row) * size;
        float2 at = corner + min(max(texel, float2(0, 0)), size - 1) + 0.5;
        return Known(tex2Dlod(_Frames, float4(at / _Frames_TexelSize.zw, 0, 0)));
    }

    // The same, times how much it counts for a surface at the distance `now`.
    float4 OfSurface(float2 texel, float now, float after, float share)
    {
        float4 frame = Kept(texel, after);
        return float4(frame.xyz, 1) * (share * frame.w * SameSurface(frame.z, now));
    }

    // What a frame that is kept knows around a place of a surface at the distance `now`: its motion, its distance, and how
    // much of the place shows it.
    float4 Surface(float2 uv, float now, float after)
    {
        float2 at = uv * SizeOfFrames() - 0.5;
        float2 corner = floor(at);
        float2 share = at - corner;
        float4 sum = OfSurface(corner, now, after, (1 - share.x) * (1 - share.y));
        sum += OfSurface(corner + float2(1, 0), now, after, share.x * (1 - share.y));
        sum += OfSurface(corner + float2(0, 1), now, after, (1 - share.x) * share.y);
        sum += OfSurface(corner + float2(1, 1), now, after, share.x * share.y);
        return float4(sum.xyz / max(sum.w, 0.0001), sum.w);
    }

    // Where _MainTex shows what the frame shows here; z is 0 where it does not. Motion leads back frame by frame.
    float3 WayBack(float2 uv, float4 here)
    {
        float2 at = uv;
        float4 surface = here;
        float seen = here.w;
        for (int frames = 1; frames <= _Way.x; frames++)
        {
            at -= surface.xy;
            surface = Surface(at, surface.z, -frames);
            seen *= Inside(at) * (surface.w < EnoughPast ? 0 : 1);
        }
        return float3(at, seen);
    }

    // The same of _KeyAfter. Where something will be cannot be seen from its pixel: it is guessed that it moves on as before,
    // and the motion found there gives a better guess.
    float3 WayOn(float2 uv, float4 here)
    {
        float2 at = uv;
        float4 surface = here;
        float seen = here.w;
        for (int frames = 1; frames <= _Way.y; frames++)
        {
            float2 guess = Surface(at + surface.xy, surface.z, frames).xy;
            surface = Surface(at + guess, surface.z, frames);
            at += surface.xy;
            float2 off = (surface.xy - guess) * SizeOfFrames();
            seen *= Inside(at) * (surface.w < EnoughPast ? 0 : 1) * (max(abs(off.x), abs(off.y)) > WellGuessed ? 0 : 1);
        }
        return float3(at, seen);
    }

    // A frame between two of the network's pictures; its alpha is their masks', or -1 where neither shows what is there.
    float4 Interpolate(Varyings input) : SV_Target
    {
        float4 here = Kept(floor(input.uv * SizeOfFrames()), 0);
        float3 back = WayBack(input.uv, here);
        float3 on = WayOn(input.uv, here);
        float4 earlier = tex2Dlod(_MainTex, float4(back.xy, 0, 0));
        float4 later = tex2Dlod(_KeyAfter, float4(on.xy, 0, 0));
        float earlierShare = (1 - _Way.z) * back.z * Finite(earlier);
        float laterShare = _Way.z * on.z * Finite(later);
        float sum = earlierShare + laterShare;
        float4 color = Known(earlier) * earlierShare + Known(later) * laterShare;
        return sum > 0.0001 ? color / sum : float4(0, 0, 0, -1);
    }

    // Fills what is left. _MainTex is the result of Interpolate.
    float4 Fill(Varyings input) : SV_Target
    {
        float4 color = Moved(input.uv);
        return color.a < 0 ? Uncovered(input.uv, 1) : color;
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

        Pass
        {
            Name "Interpolate"
            CGPROGRAM
            #pragma target 3.5
            #pragma vertex Vertex
            #pragma fragment Interpolate
            ENDCG
        }

        Pass
        {
            Name "Fill"
            CGPROGRAM
            #pragma target 3.5
            #pragma vertex Vertex
            #pragma fragment Fill
            ENDCG
        }
    }

    Fallback Off
}
