using UnityEngine;

namespace StyleTransferDemo
{

/// <summary>Moves its object up and down.</summary>
public sealed class Bobber : MonoBehaviour
{
    [SerializeField, Tooltip("Metres up and down from where it begins.")]
    float swing = 0.5f;

    [SerializeField, Tooltip("Seconds for one movement up and down.")]
    float seconds = 3;

    [SerializeField, Tooltip("Where in the movement it begins, 0 to 1.")]
    float phase = 0;

    Vector3 _origin;

    void Start() => _origin = transform.localPosition;

    void Update()
    {
        var turn = 2 * Mathf.PI * (Time.time / seconds + phase);
        transform.localPosition = _origin + new Vector3(0, swing * Mathf.Sin(turn), 0);
    }
}

}
