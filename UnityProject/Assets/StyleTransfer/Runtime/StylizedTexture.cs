using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// Stylises a texture, such as the target texture of a camera or a video player, in each frame. A complete example for
/// your own scripts in one small class: load, run, show, dispose.
/// </summary>
[AddComponentMenu("Style Transfer/Stylized Texture")]
public sealed class StylizedTexture : MonoBehaviour
{
    #region Editable attributes

    [SerializeField, Tooltip("The style.")]
    StyleTransferModel model = null;

    [SerializeField, Tooltip("The picture to stylise.")]
    RenderTexture source = null;

    [SerializeField, Tooltip("The stylised picture is drawn here; show it, for instance, in a RawImage.")]
    RenderTexture destination = null;

    [SerializeField, Tooltip("Hidden/StyleTransfer/Convert. Referenced here so that it is included in players.")]
    Shader convertShader = null;

    #endregion

    #region MonoBehaviour implementation

    // Load the network, on the fastest worker of the inference package in the project.
    void OnEnable() => _runner = new StyleTransferRunner(model, StyleTransferWorker.Auto, convertShader);

    // Run and show: 1 is the stylised picture, 0 the source. If there is no runner, the console says why.
    void LateUpdate()
    {
        if (_runner != null) _runner.Stylize(source, destination, 1);
    }

    // Dispose the worker, tensors and textures.
    void OnDisable()
    {
        if (_runner != null) _runner.Dispose();
        _runner = null;
    }

    void Reset() => convertShader = Shader.Find(StyleTransferRunner.ConvertShaderName);

    #endregion

    #region Private objects

    StyleTransferRunner _runner;

    #endregion
}

}
