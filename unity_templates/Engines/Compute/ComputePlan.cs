using System;
using System.Collections.Generic;
using System.IO;
using System.Text;

namespace StyleTransfer.Compute
{

/// <summary>
/// A compiled network: which kernels run in which order on which buffers. Read from the file that the pipeline
/// writes (pipeline/targets/compute/file.py); immutable. Uses nothing of Unity.
/// </summary>
public sealed class ComputePlan
{
    #region What a plan holds

    /// <summary>A length that follows from another: floor((length * Multiply + Add) / Divide).</summary>
    public struct Extent
    {
        /// <summary>The three numbers of the formula; Divide is above 0.</summary>
        public int Multiply, Add, Divide;

        /// <summary>The length that follows.</summary>
        public int Of(int length)
        {
            var exact = length * Multiply + Add;
            // Rounded down, also below zero.
            return exact >= 0 ? exact / Divide : -((-exact + Divide - 1) / Divide);
        }
    }

    /// <summary>A picture that a kernel writes; number 0 is the input.</summary>
    public struct Value
    {
        /// <summary>How many channels it has.</summary>
        public int Channels;
        /// <summary>The value that its size follows from.</summary>
        public int Source;
        /// <summary>How its size follows.</summary>
        public Extent Height, Width;
        /// <summary>The value whose buffer contains it; itself, unless it is part of a concatenation.</summary>
        public int Root;
        /// <summary>The block of that buffer at which it begins.</summary>
        public int FirstBlock;
        /// <summary>The buffer; -1 where it is not stored.</summary>
        public int Slot;

        /// <summary>Elements of four channels for each pixel.</summary>
        public int Blocks => (Channels + ChannelsPerBlock - 1) / ChannelsPerBlock;
    }

    /// <summary>A variant of a kernel, by its name in the compute shader.</summary>
    public sealed class Kernel
    {
        /// <summary>The name of the kernel in the compute shader.</summary>
        public string Name;
        /// <summary>The file of kernels that it is a variant of: Conv, Pointwise...</summary>
        public string File;
        /// <summary>What it is compiled with.</summary>
        public Dictionary<string, int> Macros;

        /// <summary>The value of a macro, or the kernel's default if it is not defined.</summary>
        public int Macro(string name, int otherwise = 0)
        {
            int number;
            return Macros.TryGetValue(name, out number) ? number : otherwise;
        }
    }

    /// <summary>One kernel run. Values are numbers in <see cref="Values"/>, -1 is none.</summary>
    public sealed class Dispatch
    {
        /// <summary>What it does, for people.</summary>
        public string Title;
        /// <summary>Which of <see cref="Kernels"/>.</summary>
        public int Kernel;
        /// <summary>What the number of thread groups follows from.</summary>
        public Grid Grid;
        /// <summary>The values that are read and written.</summary>
        public int First, Second, Output, Kept;
        /// <summary>The dispatch whose statistics it merges; -1 is none.</summary>
        public int Of;
        /// <summary>Whether a resize maps corners to corners.</summary>
        public bool AlignCorners;
        /// <summary>Position in the shape constants, value, and so on.</summary>
        public int[] Fixed;
        /// <summary>Positions in the other constants.</summary>
        public int[] RealPlaces;
        /// <summary>The values at these positions.</summary>
        public float[] Reals;
    }

    /// <summary>What the number of thread groups follows from.</summary>
    public enum Grid { Tiles = 0, Pixels = 1, Flat = 2, Blocks = 3, Threads = 4 }

    /// <summary>Constants, as they are in the network; <see cref="ComputeWeights"/> lays them out.</summary>
    public sealed class Weight
    {
        /// <summary>How it is laid out.</summary>
        public WeightKind Kind;
        /// <summary>The element of the buffer of weights at which it begins.</summary>
        public int At;
        /// <summary>What laying it out needs to know, as pipeline/targets/compute/file.py names it.</summary>
        public int[] Form;
        /// <summary>Its dimensions.</summary>
        public int[] Shape;
        /// <summary>Its numbers; the last dimension is the fastest.</summary>
        public float[] Data;
    }

    /// <summary>The kinds of constants.</summary>
    public enum WeightKind { Convolution = 0, Rows = 1, Depthwise = 2 }

    /// <summary>Channels of an element of a buffer.</summary>
    public const int ChannelsPerBlock = 4;

    /// <summary>The number of the input picture.</summary>
    public const int Picture = 0;

    /// <summary>Whether activations are stored in half precision.</summary>
    public bool Half { get; private set; }

    /// <summary>The nominal size in pixels.</summary>
    public int NominalHeight { get; private set; }

    /// <summary>The nominal size in pixels.</summary>
    public int NominalWidth { get; private set; }

    /// <summary>Channels of the input picture: 3 or 1.</summary>
    public int InputChannels { get; private set; }

    /// <summary>Channels of the output picture: 3 or 1.</summary>
    public int OutputChannels { get; private set; }

    /// <summary>The value that becomes the output picture.</summary>
    public int Result { get; private set; }

    /// <summary>Elements of four numbers in the buffer of tables.</summary>
    public int TableElements { get; private set; }

    /// <summary>How many buffers the values share.</summary>
    public int Slots { get; private set; }

    /// <summary>What the network calls its picture.</summary>
    public string InputName { get; private set; }

    /// <summary>What the network calls its result.</summary>
    public string OutputName { get; private set; }

    /// <summary>The metadata that the pipeline wrote.</summary>
    public Dictionary<string, string> Metadata { get; private set; }

    /// <summary>All values, each after those that its size depends on.</summary>
    public Value[] Values { get; private set; }

    /// <summary>All variants of kernels.</summary>
    public Kernel[] Kernels { get; private set; }

    /// <summary>All dispatches, in order.</summary>
    public Dispatch[] Dispatches { get; private set; }

    /// <summary>All constants.</summary>
    public Weight[] Weights { get; private set; }

    /// <summary>The constants that depend on the style, if the network has several; otherwise empty.</summary>
    public StyledWeight[] Styles { get; private set; }

    /// <summary>The constants that depend on a style vector; empty if the network takes none.</summary>
    public VectorWeight[] VectorWeights { get; private set; }

    /// <summary>Length of a style vector; 0 if the network takes none.</summary>
    public int StyleLength { get; private set; }

    /// <summary>The value that a vector of numbers is uploaded to, if a style predictor takes one instead of a
    /// picture; otherwise -1.</summary>
    public int NumbersIn { get; private set; }

    /// <summary>The names of the inputs for guides, which are values 1, 2 ...; empty if the network takes none.</summary>
    public string[] Guides { get; private set; }

    /// <summary>Whether a value is an input texture: the picture, or one of guides.</summary>
    /// <param name="value">its number, or -1</param>
    public bool IsTexture(int value) => value >= Picture && value <= Guides.Length;

    /// <summary>Channels of the picture and of all guides.</summary>
    public int AllInputChannels
    {
        get
        {
            var channels = InputChannels;
            for (var i = 1; i <= Guides.Length; i++) channels += Values[i].Channels;
            return channels;
        }
    }

    /// <summary>Whether the result is a style vector in the buffer of <see cref="Result"/>, and no picture.</summary>
    public bool NumbersOut { get; private set; }

    #endregion

    #region Reading

    /// <summary>The version of a file with one style.</summary>
    public const int FormatVersion = 2;

    /// <summary>The version of a file with several.</summary>
    public const int StyledVersion = 3;

    /// <summary>The version of the files of a network with style vectors, and of its predictor.</summary>
    public const int VectorVersion = 4;

    /// <summary>The version of a file with guides.</summary>
    public const int GuideVersion = 5;

    /// <summary>Reads a plan.</summary>
    /// <param name="file">the whole file</param>
    /// <exception cref="InvalidDataException">it is damaged, or of another version; the message says
    /// which</exception>
    public static ComputePlan Read(byte[] file)
    {
        if (file == null || file.Length < SmallestFile || BitConverter.ToInt32(file, 0) != Magic)
            throw new InvalidDataException("this is not a compiled network, or its beginning is missing");

        try
        {
            using (var reader = new BinaryReader(new MemoryStream(file, false), Encoding.UTF8))
                return new ComputePlan(reader, file.Length);
        }
        catch (EndOfStreamException)
        {
            throw new InvalidDataException("the compiled network ends too early; build it again");
        }
    }

    const int Magic = 'S' | 'T' << 8 | 'C' << 16 | 'P' << 24;
    const int SmallestFile = 64;
    const int IntBytes = 4;
    const int ConvolutionForm = 6, RowsForm = 2, DepthwiseForm = 0;
    const int HighestRank = 4;

    readonly int _bytes;

    ComputePlan(BinaryReader reader, int bytes)
    {
        _bytes = bytes;
        reader.ReadInt32();
        var version = ReadNumber(reader);
        if (version < FormatVersion || version > GuideVersion)
            throw new InvalidDataException("the compiled network has another format version than this script reads; " +
              "build it again");

        Half = ReadNumber(reader) != 0;
        NominalHeight = ReadNumber(reader);
        NominalWidth = ReadNumber(reader);
        InputChannels = ReadNumber(reader);
        OutputChannels = ReadNumber(reader);
        Result = ReadNumber(reader);
        TableElements = ReadNumber(reader);
        Slots = ReadNumber(reader);
        InputName = ReadText(reader);
        OutputName = ReadText(reader);
        Metadata = new Dictionary<string, string>();
        for (var left = ReadCount(reader); left > 0; left--)
        {
            var key = ReadText(reader);
            Metadata[key] = ReadText(reader);
        }

        Values = new Value[ReadCount(reader)];
        for (var i = 0; i < Values.Length; i++) Values[i] = ReadValue(reader);
        Kernels = new Kernel[ReadCount(reader)];
        for (var i = 0; i < Kernels.Length; i++) Kernels[i] = ReadKernel(reader);
        Dispatches = new Dispatch[ReadCount(reader)];
        for (var i = 0; i < Dispatches.Length; i++) Dispatches[i] = ReadDispatch(reader);
        Weights = new Weight[ReadCount(reader)];
        for (var i = 0; i < Weights.Length; i++) Weights[i] = ReadWeight(reader);
        Styles = version == StyledVersion ? ReadStyles(reader) : new StyledWeight[0];
        NumbersIn = -1;
        VectorWeights = new VectorWeight[0];
        if (version == VectorVersion) ReadVectors(reader);
        Guides = new string[version == GuideVersion ? ReadCount(reader) : 0];
        for (var i = 0; i < Guides.Length; i++) Guides[i] = ReadText(reader);
        Check();
    }

    // 2n, or -2n - 1 below zero, in seven bits a byte, the lowest first.
    static int ReadNumber(BinaryReader reader)
    {
        const int bitsPerByte = 7;
        const int mask = (1 << bitsPerByte) - 1;
        const int mostBits = 5 * bitsPerByte;

        long number = 0;
        for (var shift = 0; shift < mostBits; shift += bitsPerByte)
        {
            var part = reader.ReadByte();
            number |= (long)(part & mask) << shift;
            if (part <= mask) break;
        }
        if (number > uint.MaxValue) throw Damaged("a number has more than 32 bits");
        return (int)(number >> 1) ^ -(int)(number & 1);
    }

    int ReadCount(BinaryReader reader)
    {
        var count = ReadNumber(reader);
        if (count < 0 || count > _bytes) throw Damaged("a count is larger than the file");
        return count;
    }

    string ReadText(BinaryReader reader)
    {
        var count = ReadCount(reader);
        var bytes = reader.ReadBytes(count);
        if (bytes.Length != count) throw new EndOfStreamException();
        return Encoding.UTF8.GetString(bytes);
    }

    static Extent ReadExtent(BinaryReader reader)
      => new Extent { Multiply = ReadNumber(reader), Add = ReadNumber(reader), Divide = ReadNumber(reader) };

    static Value ReadValue(BinaryReader reader)
    {
        var value = new Value { Channels = ReadNumber(reader), Source = ReadNumber(reader) };
        value.Height = ReadExtent(reader);
        value.Width = ReadExtent(reader);
        value.Root = ReadNumber(reader);
        value.FirstBlock = ReadNumber(reader);
        value.Slot = ReadNumber(reader);

        // Whether it is stored at all shows in its slot.
        ReadNumber(reader);
        return value;
    }

    Kernel ReadKernel(BinaryReader reader)
    {
        var kernel = new Kernel { Name = ReadText(reader), File = ReadText(reader) };
        kernel.Macros = new Dictionary<string, int>();
        for (var left = ReadCount(reader); left > 0; left--)
        {
            var name = ReadText(reader);
            kernel.Macros[name] = ReadNumber(reader);
        }
        return kernel;
    }

    Dispatch ReadDispatch(BinaryReader reader)
    {
        var dispatch = new Dispatch { Title = ReadText(reader), Kernel = ReadNumber(reader) };
        dispatch.Grid = (Grid)ReadNumber(reader);
        dispatch.First = ReadNumber(reader);
        dispatch.Second = ReadNumber(reader);
        dispatch.Output = ReadNumber(reader);
        dispatch.Kept = ReadNumber(reader);
        dispatch.Of = ReadNumber(reader);
        dispatch.AlignCorners = ReadNumber(reader) != 0;
        dispatch.Fixed = new int[2 * ReadCount(reader)];
        for (var i = 0; i < dispatch.Fixed.Length; i++) dispatch.Fixed[i] = ReadNumber(reader);
        var reals = ReadCount(reader);
        dispatch.RealPlaces = new int[reals];
        dispatch.Reals = new float[reals];
        for (var i = 0; i < reals; i++)
        {
            dispatch.RealPlaces[i] = ReadNumber(reader);
            dispatch.Reals[i] = reader.ReadSingle();
        }
        return dispatch;
    }

    Weight ReadWeight(BinaryReader reader)
    {
        var weight = new Weight { Kind = (WeightKind)ReadNumber(reader), At = ReadNumber(reader) };
        var form = weight.Kind == WeightKind.Convolution ? ConvolutionForm
          : weight.Kind == WeightKind.Rows ? RowsForm : DepthwiseForm;
        weight.Form = new int[form];
        for (var i = 0; i < form; i++) weight.Form[i] = ReadNumber(reader);

        var rank = ReadCount(reader);
        if (rank > HighestRank) throw Damaged("a weight has too many dimensions");
        weight.Shape = new int[rank];
        long size = 1;
        for (var i = 0; i < rank; i++)
        {
            weight.Shape[i] = ReadCount(reader);
            size *= weight.Shape[i];
            if (size * IntBytes > _bytes) throw Damaged("a weight is larger than the file");
        }

        weight.Data = ReadNumbers(reader, (int)size);
        return weight;
    }

    static float[] ReadNumbers(BinaryReader reader, int count)
    {
        var bytes = reader.ReadBytes(count * sizeof(float));
        if (bytes.Length != count * sizeof(float)) throw new EndOfStreamException();
        var numbers = new float[count];
        Buffer.BlockCopy(bytes, 0, numbers, 0, bytes.Length);
        return numbers;
    }

    StyledWeight[] ReadStyles(BinaryReader reader)
    {
        var count = ReadCount(reader);
        var styles = new StyledWeight[ReadCount(reader)];
        for (var i = 0; i < styles.Length; i++)
        {
            var weight = ReadCount(reader);
            if (weight >= Weights.Length || count < 1) throw Damaged("a style has no weight");
            var data = new float[count][];
            for (var style = 0; style < count; style++) data[style] = ReadNumbers(reader, Weights[weight].Data.Length);
            styles[i] = new StyledWeight(weight, data);
        }
        return styles;
    }

    void ReadVectors(BinaryReader reader)
    {
        NumbersIn = ReadNumber(reader);
        NumbersOut = ReadNumber(reader) != 0;
        StyleLength = ReadNumber(reader);

        // The name of the network's second input, for people.
        ReadText(reader);
        VectorWeights = new VectorWeight[ReadCount(reader)];
        for (var i = 0; i < VectorWeights.Length; i++)
        {
            var weight = ReadCount(reader);
            if (weight >= Weights.Length) throw Damaged("a style has no weight");
            var terms = new VectorWeight.Term[ReadCount(reader)];
            for (var j = 0; j < terms.Length; j++) terms[j] = ReadTerm(reader, Weights[weight].Data.Length);
            VectorWeights[i] = new VectorWeight(weight, Weights[weight].Data, terms);
        }
    }

    // Each index is stored as the difference from the one before.
    VectorWeight.Term ReadTerm(BinaryReader reader, int length)
    {
        var term = new VectorWeight.Term { Indices = new int[length] };
        var index = 0;
        for (var i = 0; i < length; i++)
        {
            index += ReadNumber(reader);
            if (index < 0 || index >= StyleLength) throw Damaged("an index is outside of the style vector");
            term.Indices[i] = index;
        }
        var isOne = ReadNumber(reader) != 0;
        if (!isOne) term.Coefficients = ReadNumbers(reader, length);
        return term;
    }

    // Every number that is used as an index later.
    void Check()
    {
        var known = Values.Length > 0 && Result > 0 && Result < Values.Length && Slots >= 0 && Slots <= Values.Length;
        for (var i = 1; known && i < Values.Length; i++)
        {
            var value = Values[i];
            known = value.Source >= 0 && value.Source < i && value.Height.Divide > 0 && value.Width.Divide > 0 &&
              value.Root >= 0 && value.Root < Values.Length && value.Slot >= -1 && value.Slot < Slots &&
              value.Channels > 0;
        }
        for (var i = 0; known && i < Dispatches.Length; i++)
        {
            var dispatch = Dispatches[i];
            known = dispatch.Kernel >= 0 && dispatch.Kernel < Kernels.Length && IsValue(dispatch.First) &&
              IsValue(dispatch.Second) && IsValue(dispatch.Output) && IsValue(dispatch.Kept) &&
              dispatch.Of >= -1 && dispatch.Of < Dispatches.Length;
            for (var j = 0; known && j < dispatch.Fixed.Length; j += 2)
                known = dispatch.Fixed[j] >= 0 && dispatch.Fixed[j] < ComputeConstants.ShapeNumbers;
            foreach (var place in dispatch.RealPlaces)
                known = known && place >= 0 && place < ComputeConstants.RealNumbers;
        }
        known = known && NumbersIn >= -1 && NumbersIn < Values.Length && (NumbersIn < 0 || Values[NumbersIn].Slot >= 0) &&
          (!NumbersOut || Values[Result].Slot >= 0) && Guides.Length < Values.Length && !IsTexture(Result);
        for (var i = 1; known && i <= Guides.Length; i++)
            known = Values[i].Slot < 0 && Values[i].Channels <= ChannelsPerBlock;
        if (!known) throw Damaged("one of its indices is out of range");
    }

    bool IsValue(int number) => number >= -1 && number < Values.Length;

    static InvalidDataException Damaged(string why)
      => new InvalidDataException("the compiled network is damaged: " + why + "; build it again");

    #endregion
}

}
