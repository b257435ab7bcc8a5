using System;
using UnityEngine;

namespace StyleTransfer.Editor
{

/// <summary>
/// Reads JSON that may be none.
/// </summary>
static class PipelineJson
{
    /// <summary>The object that the text describes; null where it is not JSON.</summary>
    public static T Parse<T>(string json) where T : class
    {
        try
        {
            return JsonUtility.FromJson<T>(json);
        }
        catch (ArgumentException)
        {
            return null;
        }
    }
}

}
