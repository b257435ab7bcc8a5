using UnityEngine;

namespace StyleTransfer
{

/// <summary>
/// Stylises a texture, such as the target texture of a camera or a video player, in each frame. The whole way in one
/// small class, to read first for scripts of your own: load, run, show, free.
/// </summary>
[AddComponentMenu("Style Transfer/Stylized Texture")]
public sealed class StylizedTexture : MonoBehaviour
{
    #region Editable attributes

    [SerializeField, Tooltip("The style.")]
    StyleTransferModel model = null;

    [SerializeField, Tooltip("The picture to stylise.")]
    RenderTexture source = null;

    [SerializeField, Tooltip("Where to draw it; show this one, for instance in a RawImage.")]
    RenderTexture destination = null;

    [SerializeField, Tooltip("Hidden/StyleTransfer/Convert. Referred to here so that players contain it.")]
    Shader convertShader = null;

    #endregion

    #region MonoBehaviour implementation

    // Load: the network, on the fastest worker of whatever inference package the project has.
    void OnEnable() => _runner = new StyleTransferRunner(model, StyleTransferWorker.Auto, convertShader);

    // Run and show: 1 is the stylised picture, 0 the source. Without a runner the console says why.
    void LateUpdate()
    {
        if (_runner != null) _runner.Stylize(source, destination, 1);
    }

    // Free: worker, tensors and textures.
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
