// The part of HLSL that the shaders use, so that their own text, lightly rewritten by shading.py, compiles as C#
// and draws pictures under mono. Numbers are double where HLSL has float.

using System;
using System.Collections.Generic;
using System.Reflection;
using UnityEngine;

namespace Hlsl
{

public struct float2
{
    public double x, y;
    public float2(double x, double y) { this.x = x; this.y = y; }
    public static float2 operator +(float2 a, float2 b) { return new float2(a.x + b.x, a.y + b.y); }
    public static float2 operator -(float2 a, float2 b) { return new float2(a.x - b.x, a.y - b.y); }
    public static float2 operator *(float2 a, float2 b) { return new float2(a.x * b.x, a.y * b.y); }
    public static float2 operator /(float2 a, float2 b) { return new float2(a.x / b.x, a.y / b.y); }
    public static implicit operator float2(double v) { return new float2(v, v); }
}

public struct float3
{
    public double x, y, z;
    public float3(double x, double y, double z) { this.x = x; this.y = y; this.z = z; }
    public float3(float2 v, double z) : this(v.x, v.y, z) {}
    public float2 xy { get { return new float2(x, y); } }
    public static float3 operator +(float3 a, float3 b) { return new float3(a.x + b.x, a.y + b.y, a.z + b.z); }
    public static float3 operator -(float3 a, float3 b) { return new float3(a.x - b.x, a.y - b.y, a.z - b.z); }
    public static float3 operator *(float3 a, float3 b) { return new float3(a.x * b.x, a.y * b.y, a.z * b.z); }
    public static float3 operator /(float3 a, float3 b) { return new float3(a.x / b.x, a.y / b.y, a.z / b.z); }
    public static implicit operator float3(double v) { return new float3(v, v, v); }
}

public struct float4
{
    public double x, y, z, w;
    public float4(double x, double y, double z, double w) { this.x = x; this.y = y; this.z = z; this.w = w; }
    public float4(float2 v, double z, double w) : this(v.x, v.y, z, w) {}
    public float4(float3 v, double w) : this(v.x, v.y, v.z, w) {}
    public double r { get { return x; } }
    public double g { get { return y; } }
    public double b { get { return z; } }
    public double a { get { return w; } }
    public float2 xy { get { return new float2(x, y); } }
    public float2 zy { get { return new float2(z, y); } }
    public float2 xw { get { return new float2(x, w); } }
    public float2 zw { get { return new float2(z, w); } }
    public float3 xyz { get { return new float3(x, y, z); } }
    public float3 rgb { get { return new float3(x, y, z); } set { x = value.x; y = value.y; z = value.z; } }
    public float4 xyxy { get { return new float4(x, y, x, y); } }

    public static float4 operator +(float4 a, float4 b)
    { return new float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }

    public static float4 operator *(float4 a, float4 b)
    { return new float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w); }

    public static float4 operator /(float4 a, float4 b)
    { return new float4(a.x / b.x, a.y / b.y, a.z / b.z, a.w / b.w); }

    public static implicit operator float4(double v) { return new float4(v, v, v, v); }
}

public struct sampler2D
{
    public Texture texture;
}

public static class Intrinsics
{
    public static double abs(double x) { return Math.Abs(x); }
    public static double cos(double x) { return Math.Cos(x); }
    public static double sin(double x) { return Math.Sin(x); }
    public static double exp2(double x) { return Math.Pow(2, x); }
    public static double min(double a, double b) { return Math.Min(a, b); }
    public static double clamp(double x, double low, double high) { return Math.Max(low, Math.Min(high, x)); }
    public static uint asuint(double x) { return BitConverter.ToUInt32(BitConverter.GetBytes((float)x), 0); }
    public static double max(double a, double b) { return Math.Max(a, b); }
    public static double saturate(double x) { return Math.Max(0, Math.Min(1, x)); }
    public static double step(double edge, double x) { return x >= edge ? 1 : 0; }
    public static double lerp(double a, double b, double t) { return a + (b - a) * t; }
    public static double dot(float3 a, float3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

    public static double floor(double x) { return Math.Floor(x); }
    public static float2 min(float2 a, float2 b) { return new float2(Math.Min(a.x, b.x), Math.Min(a.y, b.y)); }
    public static float2 max(float2 a, float2 b) { return new float2(Math.Max(a.x, b.x), Math.Max(a.y, b.y)); }
    public static float2 floor(float2 x) { return new float2(Math.Floor(x.x), Math.Floor(x.y)); }
    public static float2 step(float2 edge, float2 x) { return new float2(step(edge.x, x.x), step(edge.y, x.y)); }

    static float3 Each(float3 a, float3 b, Func<double, double, double> f)
    { return new float3(f(a.x, b.x), f(a.y, b.y), f(a.z, b.z)); }

    public static float3 max(float3 a, float3 b) { return Each(a, b, Math.Max); }
    public static float3 step(float3 edge, float3 x) { return Each(edge, x, step); }
    public static float3 pow(float3 a, float3 b) { return Each(a, b, Math.Pow); }
    public static float3 saturate(float3 x) { return Each(x, x, (v, same) => saturate(v)); }
    public static float3 lerp(float3 a, float3 b, float3 t) { return a + (b - a) * t; }

    public static float4 lerp(float4 a, float4 b, double t) { return a + (b + a * -1) * t; }

    public static float4 tex2Dlod(sampler2D sampler, float4 at) { return tex2D(sampler, at.xy); }

    // Of a sampler that takes the nearest texel, clamped.
    public static float4 nearest(sampler2D sampler, float2 at)
    {
        var texture = sampler.texture;
        if (texture == null) return new float4(0, 0, 0, 1);
        return Texel(texture, (int)Math.Floor(at.x * texture.width), (int)Math.Floor(at.y * texture.height));
    }

    // Clamped; texel centres are at half.
    public static float4 tex2D(sampler2D sampler, float2 at)
    {
        var texture = sampler.texture;
        if (texture == null) return new float4(0, 0, 0, 1);
        double x = at.x * texture.width, y = at.y * texture.height;
        if (texture.filterMode == FilterMode.Point)
            return Texel(texture, (int)Math.Floor(x), (int)Math.Floor(y));

        int left = (int)Math.Floor(x - 0.5), low = (int)Math.Floor(y - 0.5);
        double right = x - 0.5 - left, high = y - 0.5 - low;
        return (Texel(texture, left, low) * (1 - right) + Texel(texture, left + 1, low) * right) * (1 - high) +
               (Texel(texture, left, low + 1) * (1 - right) + Texel(texture, left + 1, low + 1) * right) * high;
    }

    static float4 Texel(Texture texture, int x, int y)
    {
        var i = 4 * (Mathf.Clamp(y, 0, texture.height - 1) * texture.width + Mathf.Clamp(x, 0, texture.width - 1));
        var t = texture.texels;
        return new float4(t[i], t[i + 1], t[i + 2], t[i + 3]);
    }
}

// Draws passes of the rewritten shaders with the properties of a material.
public static class Gpu
{
    public static Func<float, float, float[]> Draw(Texture source, Material material, int pass, RenderTexture target)
    {
        var name = material.shader.name;
        var program = typeof(Gpu).Assembly.GetType("Hlsl." + name.Substring(name.LastIndexOf('/') + 1));
        const BindingFlags flags = BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public;
        foreach (var field in program.GetFields(flags))
        {
            if (field.IsLiteral || !field.Name.StartsWith("_")) continue;
            var value = material.Value(field.Name);
            if (field.Name == "_MainTex") value = source;
            if (field.Name.EndsWith("_TexelSize"))
            {
                var owner = field.Name.Substring(0, field.Name.Length - "_TexelSize".Length);
                var texture = owner == "_MainTex" ? source : (Texture)material.Value(owner);
                if (texture != null)
                    value = new Vector4(1f / texture.width, 1f / texture.height, texture.width, texture.height);
            }
            if (field.FieldType == typeof(sampler2D))
                field.SetValue(null, new sampler2D { texture = (Texture)value });
            else if (field.FieldType == typeof(double))
                field.SetValue(null, value == null ? 0.0 : value is Vector4 ? ((Vector4)value).x : (double)(float)value);
            else if (value != null)
                field.SetValue(null, Float4((Vector4)value));
        }

        var draw = (Func<int, double, double, double, double, float4>)Delegate.CreateDelegate(
            typeof(Func<int, double, double, double, double, float4>), program.GetMethod("Draw"));
        var texel = new float[4];
        return (u, v) =>
        {
            var color = draw(pass, u, v, target.width, target.height);
            texel[0] = (float)color.x;
            texel[1] = (float)color.y;
            texel[2] = (float)color.z;
            texel[3] = (float)color.w;
            return texel;
        };
    }

    static float4 Float4(Vector4 v) { return new float4(v.x, v.y, v.z, v.w); }
}

}
