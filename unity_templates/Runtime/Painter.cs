using UnityEngine;
using UnityEngine.Rendering;

namespace StyleTransfer
{

/// <summary>
/// Draws full-screen passes: at once, as the built-in render pipeline wants it, or into a command buffer, as URP
/// and HDRP do.
/// </summary>
/// <remarks>
/// Of a material's properties a command buffer sees what they are when it is executed, so within a frame each
/// property of a material has one value. What differs between two draws of a pass is their source.
/// </remarks>
readonly struct Painter
{
    #region Public members

    /// <summary>Creates a painter that draws immediately.</summary>
    /// <param name="camera">the camera's picture</param>
    public Painter(RenderTexture camera)
    {
        _camera = camera;
        _commands = null;
    }

    /// <summary>Creates a painter that records commands.</summary>
    /// <param name="commands">where to record them</param>
    /// <param name="camera">a copy of the camera's picture</param>
    public Painter(CommandBuffer commands, RenderTexture camera)
    {
        _camera = camera;
        _commands = commands;
    }

    /// <summary>Where commands are recorded; null if it draws immediately.</summary>
    public CommandBuffer Commands => _commands;

    /// <summary>Copies a texture.</summary>
    public void Copy(Texture source, RenderTexture target)
    {
        if (_commands == null) Graphics.Blit(source, target);
        else _commands.Blit(source, target);
    }

    /// <summary>Copies a texture into a part of another one of the same format.</summary>
    /// <param name="source">the texture</param>
    /// <param name="target">where to</param>
    /// <param name="x">of the part's lower left texel</param>
    /// <param name="y">of the part's lower left texel</param>
    public void CopyTo(RenderTexture source, RenderTexture target, int x, int y)
    {
        if (_commands == null)
            Graphics.CopyTexture(source, 0, 0, 0, 0, source.width, source.height, target, 0, 0, x, y);
        else
            _commands.CopyTexture(source, 0, 0, 0, 0, source.width, source.height, target, 0, 0, x, y);
    }

    /// <summary>Copies the camera's picture.</summary>
    public void CopyCamera(RenderTexture target) => Copy(_camera, target);

    /// <summary>Draws the camera's picture through a pass.</summary>
    public void DrawCamera(RenderTexture target, Material material, int pass) => Draw(_camera, target, material, pass);

    /// <summary>Draws a texture through a pass.</summary>
    public void Draw(Texture source, RenderTexture target, Material material, int pass)
    {
        if (_commands == null) Graphics.Blit(source, target, material, pass);
        else _commands.Blit(source, target, material, pass);
    }

    #endregion

    #region Private members

    readonly RenderTexture _camera;
    readonly CommandBuffer _commands;

    #endregion
}

}
