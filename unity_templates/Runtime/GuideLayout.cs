using System;
using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// What a network takes beside the colour, and which channels of which texture hold it: the guides in the model's order,
/// in textures of up to four channels, none of them divided between two textures.
/// </summary>
public sealed class GuideLayout
{
    #region Public members

    /// <summary>Distance along the camera's axis, 0 at the camera and 1 at
    /// <see cref="StyleTransferSettings.DepthDistance"/>.</summary>
    public const string Depth = "depth";

    /// <summary>Normals in view space (x right, y up, z towards the camera), packed as 0.5 * normal + 0.5.</summary>
    public const string Normals = "normals";

    /// <summary>The red channel of <see cref="StyleTransferSettings.GuideMask"/>.</summary>
    public const string Mask = "mask";

    /// <summary>Red, green and blue of <see cref="StyleTransferSettings.GuideTexture"/>.</summary>
    public const string Texture = "texture";

    /// <summary>The most textures that guides take.</summary>
    public const int MostTextures = 2;

    /// <summary>The layout of guides.</summary>
    /// <param name="guides">their names, in order</param>
    /// <exception cref="InvalidOperationException">a name is not known, or they take too many textures</exception>
    public GuideLayout(string[] guides)
    {
        _guides = guides;
        for (var i = 0; i < guides.Length; i++) Place(guides[i]);
    }

    /// <summary>How many textures there are; 0 for a network without guides.</summary>
    public int TextureCount { get; private set; }

    /// <summary>The channels of a texture that are used, the first ones.</summary>
    /// <param name="texture">from 0</param>
    public int Channels(int texture) => _channels[texture];

    /// <summary>All channels of the guides.</summary>
    public int ChannelCount => _channels[0] + _channels[1];

    /// <summary>Whether a guide is among them.</summary>
    /// <param name="guide">one of the names above</param>
    public bool Has(string guide) => Array.IndexOf(_guides, guide) >= 0;

    /// <summary>The channels of a guide.</summary>
    /// <param name="guide">one of the names above</param>
    public static int ChannelsOf(string guide)
    {
        switch (guide)
        {
            case Depth: case Mask: return 1;
            case Normals: case Texture: return ThreeChannels;
            default: throw new InvalidOperationException("The guide '" + guide + "' is not known to this runtime. Build " +
              "the bundle again with the same version of the pipeline.");
        }
    }

    /// <summary>What each channel of a texture takes of (normal.x, normal.y, normal.z, depth).</summary>
    public Matrix4x4 SceneRows(int texture) => _sceneRows[texture];

    /// <summary>What each channel of a texture takes of (mask, texture.r, texture.g, texture.b).</summary>
    public Matrix4x4 OtherRows(int texture) => _otherRows[texture];

    #endregion

    #region Private members

    const int TextureChannels = 4;
    const int ThreeChannels = 3;
    const int DepthColumn = 3;
    const int FirstTextureColumn = 1;

    readonly string[] _guides;
    readonly int[] _channels = new int[MostTextures];
    readonly Matrix4x4[] _sceneRows = { Matrix4x4.zero, Matrix4x4.zero };
    readonly Matrix4x4[] _otherRows = { Matrix4x4.zero, Matrix4x4.zero };

    void Place(string guide)
    {
        var count = ChannelsOf(guide);
        if (TextureCount == 0 || _channels[TextureCount - 1] + count > TextureChannels) TextureCount++;
        if (TextureCount > MostTextures)
            throw new InvalidOperationException("The guides of this network take more than two textures.");

        var texture = TextureCount - 1;
        for (var i = 0; i < count; i++) Fill(texture, _channels[texture] + i, guide, i);
        _channels[texture] += count;

        // Engines may take the mean of red, green and blue for a single channel.
        if (_channels[texture] == 1)
            for (var row = 1; row < ThreeChannels; row++) Fill(texture, row, guide, 0);
        else
            ClearFrom(texture, _channels[texture]);
    }

    void Fill(int texture, int row, string guide, int component)
    {
        ClearRow(texture, row);
        if (guide == Depth) _sceneRows[texture][row, DepthColumn] = 1;
        else if (guide == Normals) _sceneRows[texture][row, component] = 1;
        else if (guide == Mask) _otherRows[texture][row, 0] = 1;
        else _otherRows[texture][row, FirstTextureColumn + component] = 1;
    }

    void ClearFrom(int texture, int row)
    {
        for (; row < TextureChannels; row++) ClearRow(texture, row);
    }

    void ClearRow(int texture, int row)
    {
        for (var column = 0; column < TextureChannels; column++)
        {
            _sceneRows[texture][row, column] = 0;
            _otherRows[texture][row, column] = 0;
        }
    }

    #endregion
}

}
