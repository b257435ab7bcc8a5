using UnityEngine;

namespace StyleTransferDemo
{

/// <summary>Turns its object about the vertical axis, so that the demo has something that moves.</summary>
public sealed class Spinner : MonoBehaviour
{
    [SerializeField, Tooltip("Degrees per second.")]
    float speed = 20;

    void Update()
      => transform.Rotate(0, speed * Time.deltaTime, 0);
}

}
