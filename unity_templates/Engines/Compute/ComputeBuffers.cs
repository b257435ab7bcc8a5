using System;
using System.Collections.Generic;
using UnityEngine;

namespace StyleTransfer.Compute
{

/// <summary>
/// The buffers between the kernels of a plan, for one picture size. Networks that need buffers of the same sizes share
/// them, one run at a time: a second style needs memory for its weights, but not for buffers.
/// </summary>
sealed class ComputeBuffers
{
    #region Taking and giving back

    /// <summary>Takes buffers that no run uses, or creates new ones.</summary>
    public static ComputeBuffers Take(Needs needs)
    {
        for (var i = 0; i < s_Free.Count; i++)
        {
            var free = s_Free[i];
            if (!free._needs.Are(needs)) continue;

            s_Free.RemoveAt(i);
            return free;
        }
        return Allocate(needs);
    }

    static ComputeBuffers Allocate(Needs needs) => new ComputeBuffers(needs);

    /// <summary>Returns buffers after a run; may be null.</summary>
    public static void GiveBack(ComputeBuffers buffers)
    {
        if (buffers != null) s_Free.Add(buffers);
    }

    /// <summary>Call this when a network starts using buffers of these sizes.</summary>
    public static void AddUser(Needs needs) => s_Users.Add(needs);

    /// <summary>Call this when a network stops using them. The last user frees the buffers.</summary>
    public static void RemoveUser(Needs needs)
    {
        s_Users.Remove(needs);
        foreach (var user in s_Users)
            if (user.Are(needs)) return;

        for (var i = s_Free.Count - 1; i >= 0; i--)
        {
            if (!s_Free[i]._needs.Are(needs)) continue;

            s_Free[i].Release();
            s_Free.RemoveAt(i);
        }
    }

    #endregion

    #region How large they are

    /// <summary>The buffers that a plan needs at one size of the picture, in elements.</summary>
    public sealed class Needs
    {
        readonly int _stride, _tables, _partials;
        readonly int[] _slots;

        /// <summary>Computes the sizes that a plan needs.</summary>
        /// <exception cref="InvalidOperationException">a buffer is larger than this GPU allows</exception>
        public Needs(ComputePlan plan, ComputeConstants sizes)
        {
            _stride = plan.Half ? HalfStride : FullStride;
            _slots = new int[plan.Slots];
            for (var i = 0; i < _slots.Length; i++)
            {
                _slots[i] = sizes.SlotElements(i);
                CheckSize((long)_stride * _slots[i]);
            }
            _tables = Math.Max(1, plan.TableElements);
            _partials = sizes.PartialElements();
        }

        internal bool Are(Needs other)
        {
            if (_stride != other._stride || _tables != other._tables || _partials != other._partials ||
              _slots.Length != other._slots.Length) return false;

            for (var i = 0; i < _slots.Length; i++)
                if (_slots[i] != other._slots[i]) return false;
            return true;
        }

        internal ComputeBuffer[] AllocateSlots() => new ComputeBuffer[_slots.Length];

        internal ComputeBuffer AllocateSlot(int slot) => new ComputeBuffer(_slots[slot], _stride);

        internal ComputeBuffer AllocateTables() => new ComputeBuffer(_tables, FullStride);

        internal ComputeBuffer AllocatePartials() => new ComputeBuffer(_partials, FullStride);

        // Unity 2021.3 and later report the largest buffer; Vulkan guarantees 128 MB.
        static void CheckSize(long bytes)
        {
#if UNITY_2021_3_OR_NEWER
            if (bytes > SystemInfo.maxGraphicsBufferSize)
                throw new InvalidOperationException("The network needs a buffer of " + bytes / BytesPerMegabyte +
                  " MB at this resolution, and this GPU allows " + SystemInfo.maxGraphicsBufferSize / BytesPerMegabyte +
                  " MB. Lower the resolution, or build the network with --precision half.");
#endif
        }
    }

    #endregion

    #region What they are

    /// <summary>Activations, by slot.</summary>
    public ComputeBuffer[] Slots { get; private set; }

    /// <summary>Scales and shifts of norms, by channel.</summary>
    public ComputeBuffer Tables { get; private set; }

    /// <summary>Statistics of tiles.</summary>
    public ComputeBuffer Partials { get; private set; }

    #endregion

    #region Private members

    const int FullStride = 16;
    const int HalfStride = 8;
    const int BytesPerMegabyte = 1 << 20;

    static readonly List<ComputeBuffers> s_Free = new List<ComputeBuffers>();
    static readonly List<Needs> s_Users = new List<Needs>();

    readonly Needs _needs;

    ComputeBuffers(Needs needs)
    {
        _needs = needs;
        Slots = needs.AllocateSlots();
        try
        {
            for (var i = 0; i < Slots.Length; i++) Slots[i] = needs.AllocateSlot(i);
            Tables = needs.AllocateTables();
            Partials = needs.AllocatePartials();
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
