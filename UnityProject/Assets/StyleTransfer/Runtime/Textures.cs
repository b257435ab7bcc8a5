using System;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// The textures and materials of this package. Textures: no sRGB conversion when read or written, no mips,
/// clamped, bilinear unless said otherwise. For engines too.
/// </summary>
public static class Textures
{
    /// <summary>Half precision if the GPU supports it as a render target, otherwise 8 bits.</summary>
    public static RenderTextureFormat PreciseFormat
      => SystemInfo.SupportsRenderTextureFormat(RenderTextureFormat.ARGBHalf)
         ? RenderTextureFormat.ARGBHalf : RenderTextureFormat.ARGB32;

    /// <summary>Full precision if the GPU supports it as a render target, otherwise the best that it supports.</summary>
    public static RenderTextureFormat ExactFormat
      => SystemInfo.SupportsRenderTextureFormat(RenderTextureFormat.ARGBFloat)
         ? RenderTextureFormat.ARGBFloat : PreciseFormat;

    /// <summary>A texture to draw on.</summary>
    public static RenderTexture AllocateTarget
      (int width, int height, RenderTextureFormat format, bool randomWrite, int depthBits = 0)
    {
        var target = new RenderTexture(width, height, depthBits, format, RenderTextureReadWrite.Linear);
        target.name = "Style Transfer";
        target.hideFlags = HideFlags.HideAndDontSave;
        target.filterMode = FilterMode.Bilinear;
        target.wrapMode = TextureWrapMode.Clamp;
        target.enableRandomWrite = randomWrite;
        target.Create();
        return target;
    }

    /// <summary>A texture whose pixels are in main memory.</summary>
    public static Texture2D AllocatePixels(int width, int height)
    {
        var pixels = new Texture2D(width, height, TextureFormat.RGBA32, false, true);
        pixels.name = "Style Transfer";
        pixels.hideFlags = HideFlags.HideAndDontSave;
        pixels.filterMode = FilterMode.Bilinear;
        pixels.wrapMode = TextureWrapMode.Clamp;
        return pixels;
    }

    /// <summary>Copies what is drawn on a texture to main memory; waits for the GPU.</summary>
    /// <param name="pixels">of the same size; see <see cref="AllocatePixels"/></param>
    public static void ReadPixels(RenderTexture drawn, Texture2D pixels)
    {
        var active = RenderTexture.active;
        RenderTexture.active = drawn;
        pixels.ReadPixels(new Rect(0, 0, drawn.width, drawn.height), 0, 0, false);
        RenderTexture.active = active;
    }

    /// <summary>The nearest of 256 levels to a value, which is clamped to 0..1.</summary>
    public static byte ToByte(float value) => (byte)(Mathf.Clamp01(value) * byte.MaxValue + 0.5f);

    /// <summary>The material of a shader.</summary>
    /// <param name="shader">the shader; null looks it up, which finds it in a player only if something else
    /// refers to it</param>
    /// <param name="name">the shader's name</param>
    /// <param name="field">the component's field that refers to it</param>
    /// <exception cref="InvalidOperationException">the shader is missing; the message says what to do</exception>
    public static Material AllocateMaterial(Shader shader, string name, string field)
    {
        var found = shader != null ? shader : Shader.Find(name);
        if (found == null)
            throw new InvalidOperationException("The shader " + name + " is missing. Assign it to the field " +
              field + " of the component; it is in Runtime/Shaders.");

        var material = new Material(found);
        material.hideFlags = HideFlags.HideAndDontSave;
        return material;
    }

    /// <summary>Destroys a texture, material or object of a scene; null is fine.</summary>
    public static void Release(UnityEngine.Object target)
    {
        if (target == null) return;
        var texture = target as RenderTexture;
        if (texture != null) texture.Release();
        if (Application.isPlaying)
            UnityEngine.Object.Destroy(target);
        else
            UnityEngine.Object.DestroyImmediate(target);
    }
}

}
