using System;
using System.Collections.Generic;
using UnityEngine;

namespace StyleTransfer.Compute
{

/// <summary>
/// The buffers between the kernels of a plan, for one size of the picture. Networks whose plans differ in their
/// only their weights take them from each other for one run at a time: a second style costs its weights, not its buffers.
/// </summary>
sealed class ComputeBuffers
{
    #region Taking and giving back

    /// <summary>Buffers that no run uses; new ones where all are in use.</summary>
    public static ComputeBuffers Take(ComputePlan plan, ComputeConstants sizes, WorkingSize size)
    {
        for (var i = 0; i < s_Free.Count; i++)
        {
            var free = s_Free[i];
            if (!free._user.Is(plan.Key, size)) continue;

            s_Free.RemoveAt(i);
            return free;
        }
        return Allocate(plan, sizes, size);
    }

    static ComputeBuffers Allocate(ComputePlan plan, ComputeConstants sizes, WorkingSize size)
      => new ComputeBuffers(plan, sizes, size);

    /// <summary>Gives buffers back after a run; null is fine.</summary>
    public static void GiveBack(ComputeBuffers buffers)
    {
        if (buffers != null) s_Free.Add(buffers);
    }

    /// <summary>A network begins to use buffers of a plan at a size.</summary>
    public static void AddUser(ComputePlan plan, WorkingSize size) => s_Users.Add(new User(plan, size));

    /// <summary>A network ends to use them. With the last user the buffers are freed.</summary>
    public static void RemoveUser(ComputePlan plan, WorkingSize size)
    {
        for (var i = 0; i < s_Users.Count; i++)
        {
            if (!s_Users[i].Is(plan.Key, size)) continue;

            s_Users.RemoveAt(i);
            break;
        }
        foreach (var user in s_Users)
            if (user.Is(plan.Key, size)) return;

        for (var i = s_Free.Count - 1; i >= 0; i--)
        {
            if (!s_Free[i]._user.Is(plan.Key, size)) continue;

            s_Free[i].Release();
            s_Free.RemoveAt(i);
        }
    }

    #endregion

    #region What they are

    /// <summary>Activations, by slot.</summary>
    public ComputeBuffer[] Slots { get; private set; }

    /// <summary>What norms do to channels.</summary>
    public ComputeBuffer Tables { get; private set; }

    /// <summary>Statistics of tiles.</summary>
    public ComputeBuffer Partials { get; private set; }

    #endregion

    #region Private members

    const int FullStride = 16;
    const int HalfStride = 8;

    static readonly List<ComputeBuffers> s_Free = new List<ComputeBuffers>();
    static readonly List<User> s_Users = new List<User>();

    readonly User _user;

    // A plan at a size.
    struct User
    {
        readonly string _key;
        readonly WorkingSize _size;

        internal User(ComputePlan plan, WorkingSize size)
        {
            _key = plan.Key;
            _size = size;
        }

        internal bool Is(string key, WorkingSize size)
          => _size.Width == size.Width && _size.Height == size.Height && _key == key;
    }

    ComputeBuffers(ComputePlan plan, ComputeConstants sizes, WorkingSize size)
    {
        _user = new User(plan, size);
        Slots = new ComputeBuffer[plan.Slots];
        try
        {
            for (var i = 0; i < Slots.Length; i++)
                Slots[i] = new ComputeBuffer(sizes.SlotElements(i), plan.Half ? HalfStride : FullStride);
            Tables = new ComputeBuffer(Math.Max(1, plan.TableElements), FullStride);
            Partials = new ComputeBuffer(sizes.PartialElements(), FullStride);
        }
        catch
        {
            Release();
            throw;
        }
    }

    void Release()
    {
        for (var i = 0; i < Slots.Length; i++)
        {
            if (Slots[i] != null) Slots[i].Release();
            Slots[i] = null;
        }
        if (Tables != null) Tables.Release();
        Tables = null;
        if (Partials != null) Partials.Release();
        Partials = null;
    }

    #endregion
}

}
