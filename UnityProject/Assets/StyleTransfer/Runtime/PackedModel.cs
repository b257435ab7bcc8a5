using System;
using System.Globalization;
using System.IO;
using System.IO.Compression;

namespace StyleTransfer
{

/// <summary>
/// Reads packed models: a model file with holes, and integers whose numbers fill them. The format is described in
/// docs/packed-format.md of the pipeline. The result is identical to the packed bytes, on every machine.
/// </summary>
/// <remarks>
/// For any input it terminates, and uses memory in proportion to the sizes that a valid header declares.
/// </remarks>
public static class PackedModel
{
    #region Public methods

    /// <summary>The version of the format that this reads.</summary>
    public const int FormatVersion = 1;

    /// <summary>
    /// The bytes of the model file. Uses nothing of Unity, so that it can run on any thread.
    /// </summary>
    /// <param name="packed">the whole packed file</param>
    /// <exception cref="InvalidDataException">it is damaged, or of another version; the message says
    /// which</exception>
    public static byte[] Unpack(byte[] packed)
    {
        if (packed == null || packed.Length < HeaderBytes || ReadUInt32(packed, 0) != Magic)
            throw new InvalidDataException("this is not a packed model, or its beginning is missing");

        // Version and flags; no flag has a meaning yet.
        var version = ReadUInt32(packed, VersionOffset);
        if (version != FormatVersion)
            throw new InvalidDataException("the packed model has another format version than " +
              Number(FormatVersion) + ", which is what this script reads; build it again");

        var modelBytes = ReadSize(packed, ModelBytesOffset);
        var headBytes = ReadSize(packed, HeadBytesOffset);
        long deflatedBytes = ReadUInt32(packed, DeflatedBytesOffset);
        long symbolBytes = ReadUInt32(packed, SymbolBytesOffset);
        long bitBytes = ReadUInt32(packed, BitBytesOffset);
        if (HeaderBytes + deflatedBytes + symbolBytes + bitBytes != packed.Length)
            throw Damaged("its length differs from the one in its header");

        var crc = Crc32(packed, HeaderBytes, packed.Length, Crc32(packed, 0, ChecksumOffset, 0));
        if (crc != ReadUInt32(packed, ChecksumOffset)) throw Damaged("its checksum is wrong");

        var symbols = HeaderBytes + (int)deflatedBytes;
        var integers = new PackedIntegers(packed, symbols, symbols + (int)symbolBytes, packed.Length);
        var head = Inflate(packed, HeaderBytes, (int)deflatedBytes, headBytes);
        var model = Fill(head, integers, modelBytes);

        if (Crc32(model, 0, model.Length, 0) != ReadUInt32(packed, ModelChecksumOffset))
            throw Damaged("the rebuilt model's checksum is wrong");
        return model;
    }

    #endregion

    #region Layout

    const uint Magic = 'S' | 'T' << 8 | 'P' << 16 | 'K' << 24;

    const int VersionOffset = 4;
    const int ModelBytesOffset = 8;
    const int ModelChecksumOffset = 12;
    const int HeadBytesOffset = 16;
    const int DeflatedBytesOffset = 20;
    const int SymbolBytesOffset = 24;
    const int BitBytesOffset = 28;
    const int ChecksumOffset = 32;
    const int HeaderBytes = 36;

    // The largest model that a reader must take.
    const uint MostBytes = 1 << 30;

    const int FloatBytes = 4;

    // Kinds of numbers in a hole.
    const int Steps = 0;
    const int Halves = 1;

    // Up to here every integer is a float.
    const long LargestStep = 1 << 24;

    // The bits of the largest finite half.
    const long LargestHalf = 0x7BFF;

    // Numbers are decoded and copied in pieces of this many.
    const int ChunkSize = 1 << 14;

    struct Hole
    {
        internal int Gap;
        internal int Kind;
        internal int Count;
        internal int Scales;
        internal int Inner;
        internal int Shift;
    }

    #endregion

    #region Holes and what fills them

    static byte[] Fill(byte[] head, PackedIntegers integers, int modelBytes)
    {
        var place = 0;
        var holes = ReadTable(head, ref place);

        long total = head.Length - place;
        foreach (var hole in holes) total += (long)FloatBytes * hole.Count;
        if (total != modelBytes) throw Damaged("template and holes do not add up to the model's length");

        var model = new byte[modelBytes];
        var end = 0;
        var floats = new float[ChunkSize];
        foreach (var hole in holes)
        {
            if (hole.Gap > head.Length - place) throw Damaged("a hole is outside the template");
            Buffer.BlockCopy(head, place, model, end, hole.Gap);
            place += hole.Gap;
            end += hole.Gap;

            var scales = hole.Kind == Steps ? ReadScales(hole, integers) : null;
            integers.Begin();
            for (var first = 0; first < hole.Count; first += ChunkSize)
            {
                var count = Math.Min(ChunkSize, hole.Count - first);
                if (scales == null)
                    ReadHalves(integers, floats, count);
                else
                    ReadSteps(integers, floats, first, count, scales, hole.Inner);
                WriteFloats(floats, count, model, end);
                end += FloatBytes * count;
            }
        }
        integers.End();

        Buffer.BlockCopy(head, place, model, end, head.Length - place);
        return model;
    }

    static Hole[] ReadTable(byte[] head, ref int place)
    {
        var holes = new Hole[ReadNumber(head, ref place, head.Length)];
        for (var i = 0; i < holes.Length; i++)
        {
            var hole = new Hole { Inner = 1 };
            hole.Gap = ReadNumber(head, ref place, head.Length);
            hole.Kind = ReadNumber(head, ref place, Halves);
            hole.Count = ReadNumber(head, ref place, (int)MostBytes / FloatBytes);
            if (hole.Kind == Steps)
            {
                hole.Scales = ReadNumber(head, ref place, hole.Count);
                hole.Inner = ReadNumber(head, ref place, int.MaxValue);
                hole.Shift = ReadNumber(head, ref place, 31);
                if (hole.Scales == 0 || hole.Inner == 0) throw Damaged("a hole has no scales");
            }
            holes[i] = hole;
        }
        return holes;
    }

    // Scales are the bits of floats without their low zeros, as differences.
    static float[] ReadScales(Hole hole, PackedIntegers integers)
    {
        var bits = new uint[hole.Scales];
        long code = 0;
        integers.Begin();
        for (var i = 0; i < bits.Length; i++)
        {
            code += integers.NextScale();
            if (code < 0 || code > uint.MaxValue >> hole.Shift) throw Damaged("a scale is not a float");
            bits[i] = (uint)code << hole.Shift;
        }
        var scales = new float[bits.Length];
        Buffer.BlockCopy(bits, 0, scales, 0, FloatBytes * bits.Length);
        return scales;
    }

    static void ReadSteps
        (PackedIntegers integers, float[] floats, int first, int count, float[] scales, int inner)
    {
        var channel = first / inner % scales.Length;
        var left = inner - first % inner;
        for (var i = 0; i < count; i++)
        {
            var step = integers.NextNumber();
            if (step > LargestStep || step < -LargestStep) throw Damaged("an integer is out of range");

            // The product of two floats is exact as a double, so this rounds once, on every machine.
            floats[i] = (float)((double)step * scales[channel]);

            if (--left > 0) continue;
            left = inner;
            if (++channel == scales.Length) channel = 0;
        }
    }

    static void ReadHalves(PackedIntegers integers, float[] floats, int count)
    {
        for (var i = 0; i < count; i++)
        {
            var bits = integers.NextNumber();
            if (bits > LargestHalf || bits < -LargestHalf) throw Damaged("an integer is out of range");
            floats[i] = bits < 0 ? -HalfToFloat((int)-bits) : HalfToFloat((int)bits);
        }
    }

    // IEEE 754 binary16: 5 bits of exponent, 10 of mantissa. All steps are exact.
    static float HalfToFloat(int bits)
    {
        const int mantissaBits = 10;
        const int mantissaMask = (1 << mantissaBits) - 1;
        const double smallest = 1.0 / (1 << 24);

        int exponent = bits >> mantissaBits, mantissa = bits & mantissaMask;
        if (exponent == 0) return (float)(mantissa * smallest);
        return (float)((mantissa + mantissaMask + 1) * smallest * (1 << exponent - 1));
    }

    // Unity runs only on little-endian machines, as the numbers in the file are.
    static void WriteFloats(float[] floats, int count, byte[] model, int place)
      => Buffer.BlockCopy(floats, 0, model, place, FloatBytes * count);

    #endregion

    #region Bytes

    static uint ReadUInt32(byte[] data, int place)
      => (uint)(data[place] | data[place + 1] << 8 | data[place + 2] << 16 | data[place + 3] << 24);

    static int ReadSize(byte[] data, int place)
    {
        var size = ReadUInt32(data, place);
        if (size > MostBytes) throw Damaged("its header declares " + size.ToString(CultureInfo.InvariantCulture) + " bytes");
        return (int)size;
    }

    // Seven bits a byte, the lowest first; the highest bit says that another byte follows.
    static int ReadNumber(byte[] data, ref int place, int most)
    {
        const int bitsPerByte = 7;
        const int mask = (1 << bitsPerByte) - 1;
        const int mostBits = 5 * bitsPerByte;

        long number = 0;
        for (var shift = 0; shift < mostBits; shift += bitsPerByte)
        {
            if (place >= data.Length) throw Damaged("the table of holes is truncated");
            var part = data[place++];
            number |= (long)(part & mask) << shift;
            if (part > mask) continue;
            if (number > most) throw Damaged("a number in the table of holes is too large");
            return (int)number;
        }
        throw Damaged("a number in the table of holes is not terminated");
    }

    static byte[] Inflate(byte[] data, int begin, int count, int size)
    {
        var head = new byte[size];
        try
        {
            using (var stream = new MemoryStream(data, begin, count, false))
            using (var inflater = new DeflateStream(stream, CompressionMode.Decompress))
            {
                var end = 0;
                while (end < size)
                {
                    var read = inflater.Read(head, end, size - end);
                    if (read == 0) throw Damaged("the template is truncated");
                    end += read;
                }
                if (inflater.ReadByte() >= 0) throw Damaged("the template is too long");
            }
        }
        catch (IOException exception)
        {
            throw new InvalidDataException("the packed model is damaged: its template cannot be inflated",
              exception);
        }
        return head;
    }

    // CRC-32 as in zlib, PNG and ZIP: reflected, polynomial 0xEDB88320. It continues from an earlier result.
    static uint Crc32(byte[] data, int begin, int end, uint crc)
    {
        crc = ~crc;
        for (var i = begin; i < end; i++) crc = s_CrcTable[(crc ^ data[i]) & byte.MaxValue] ^ crc >> 8;
        return ~crc;
    }

    static readonly uint[] s_CrcTable = MakeCrcTable();

    static uint[] MakeCrcTable()
    {
        const uint polynomial = 0xEDB88320;
        var table = new uint[byte.MaxValue + 1];
        for (uint i = 0; i < table.Length; i++)
        {
            var crc = i;
            for (var bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? polynomial ^ crc >> 1 : crc >> 1;
            table[i] = crc;
        }
        return table;
    }

    internal static InvalidDataException Damaged(string why)
      => new InvalidDataException("the packed model is damaged: " + why + "; copy or build it again");

    static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    #endregion
}

}
