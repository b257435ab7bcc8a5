using UnityEngine;

namespace StyleTransferDemo
{

/// <summary>
/// Moves its object around a point at changing distance and height, looking at the point. Objects in front then
/// cover and uncover those behind, which is a good test for stylised video.
/// </summary>
public sealed class CameraPath : MonoBehaviour
{
    [SerializeField, Tooltip("The point to look at.")]
    Vector3 target = new Vector3(0, 1.4f, 0);

    [SerializeField, Tooltip("Metres from the point, on the ground.")]
    float radius = 9;

    [SerializeField, Tooltip("By how many metres the radius changes.")]
    float radiusSwing = 1.5f;

    [SerializeField, Tooltip("Metres above the ground.")]
    float height = 2.6f;

    [SerializeField, Tooltip("By how many metres the height changes.")]
    float heightSwing = 0.9f;

    [SerializeField, Tooltip("Seconds for one round.")]
    float secondsPerRound = 40;

    // How often radius and height swing in one round.
    const float RadiusSwings = 3;
    const float HeightSwings = 2;

    float _angle;

    void Update()
    {
        _angle = Mathf.Repeat(_angle + 2 * Mathf.PI * Time.deltaTime / secondsPerRound, 2 * Mathf.PI);

        var distance = radius + radiusSwing * Mathf.Sin(RadiusSwings * _angle);
        var up = height + heightSwing * Mathf.Sin(HeightSwings * _angle);
        transform.position = new Vector3(distance * Mathf.Sin(_angle), up, -distance * Mathf.Cos(_angle));
        transform.LookAt(target);
    }
}

}
