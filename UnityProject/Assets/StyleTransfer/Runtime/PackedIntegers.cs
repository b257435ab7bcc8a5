using System;

namespace StyleTransfer
{

/// <summary>
/// The integers of a packed model, read one by one. A magnitude is a symbol, coded with frequencies that are learned
/// on the way (range asymmetric numeral system), and low bits, stored as they are.
/// </summary>
sealed class PackedIntegers
{
    #region Public members

    /// <summary>Reads from two sections of the data: symbols, followed by bits.</summary>
    public PackedIntegers(byte[] data, int symbolsBegin, int symbolsEnd, int bitsEnd)
    {
        if (symbolsEnd - symbolsBegin < StateBytes || (symbolsEnd - symbolsBegin) % WordBytes != 0)
            throw PackedModel.Damaged("the section of symbols is truncated");

        _data = data;
        _word = symbolsBegin;
        _wordsEnd = symbolsEnd;
        _bit = symbolsEnd;
        _bitsEnd = bitsEnd;
        _state = (ulong)NextWord() << WordBits | NextWord();
        for (var i = 0; i < ContextCount; i++)
        {
            _numbers[i] = new Context();
            _scales[i] = new Context();
        }
    }

    /// <summary>Begins an array: what came before it says nothing about it.</summary>
    public void Begin()
    {
        Array.Clear(_recent, 0, _recent.Length);
        _oldest = 0;
        _sum = 0;
    }

    /// <summary>The next integer of an array of numbers, -(2^32 - 1) to 2^32 - 1.</summary>
    public long NextNumber() => Next(_numbers);

    /// <summary>The next integer of an array of scales, -(2^32 - 1) to 2^32 - 1.</summary>
    public long NextScale() => Next(_scales);

    /// <summary>Throws unless both sections are used up.</summary>
    public void End()
    {
        if (_state != LowestState || _word != _wordsEnd || _bit + (_bitInByte > 0 ? 1 : 0) != _bitsEnd)
            throw PackedModel.Damaged("its sections do not end where its integers do");
    }

    #endregion

    #region Private objects

    // Symbols 0..7 are magnitudes; four more for each doubling, up to 2^32 - 1.
    const int SymbolCount = 124;

    // A context is the bit length of the sum of the last magnitudes, without their low bits.
    const int ContextCount = 16;
    const int WindowSize = 16;

    const int Precision = 16;
    const int Total = 1 << Precision;
    const ulong LowestState = 1UL << 31;
    const int WordBits = 32;
    const int WordBytes = 4;
    const int StateBytes = 8;
    const int BitsPerByte = 8;

    readonly byte[] _data;
    readonly int _wordsEnd;
    readonly int _bitsEnd;
    int _word;
    int _bit;
    int _bitInByte;
    ulong _state;

    readonly Context[] _numbers = new Context[ContextCount];
    readonly Context[] _scales = new Context[ContextCount];

    readonly long[] _recent = new long[WindowSize];
    int _oldest;
    long _sum;

    #endregion

    #region Decoding

    long Next(Context[] contexts)
    {
        var symbol = NextSymbol(contexts[Math.Min(BitLength(_sum), ContextCount - 1)]);
        var lowBits = Math.Max((symbol >> 2) - 1, 0);
        var floor = (long)(symbol - (lowBits << 2)) << lowBits;

        _sum += floor - _recent[_oldest];
        _recent[_oldest] = floor;
        _oldest = (_oldest + 1) % WindowSize;

        if (symbol == 0) return 0;
        var negative = NextBits(1) != 0;
        var magnitude = floor + NextBits(lowBits);
        return negative ? -magnitude : magnitude;
    }

    int NextSymbol(Context context)
    {
        if (context.Seen == context.Renewal) context.Renew();

        var slot = (int)(_state & (Total - 1));
        var symbol = context.Find(slot);
        var start = context.Starts[symbol];
        var frequency = context.Starts[symbol + 1] - start;
        _state = (ulong)frequency * (_state >> Precision) + (ulong)(slot - start);
        if (_state < LowestState) _state = _state << WordBits | NextWord();

        context.Count(symbol);
        return symbol;
    }

    uint NextWord()
    {
        if (_word == _wordsEnd) throw PackedModel.Damaged("the section of symbols ends too early");
        var word = (uint)(_data[_word] | _data[_word + 1] << 8 | _data[_word + 2] << 16 | _data[_word + 3] << 24);
        _word += WordBytes;
        return word;
    }

    // The lowest bit comes first.
    long NextBits(int count)
    {
        long bits = 0;
        for (var i = 0; i < count; i++)
        {
            if (_bit == _bitsEnd) throw PackedModel.Damaged("the section of bits ends too early");
            bits |= (long)(_data[_bit] >> _bitInByte & 1) << i;
            if (++_bitInByte < BitsPerByte) continue;
            _bitInByte = 0;
            _bit++;
        }
        return bits;
    }

    static int BitLength(long value)
    {
        var length = 0;
        for (; value != 0; value >>= 1) length++;
        return length;
    }

    #endregion

    #region Frequencies

    // What one context has learned. Starts[s] is the sum of the frequencies before symbol s.
    sealed class Context
    {
        const int Increment = 32;
        const int MostCounts = 1 << 16;
        const int ShortestWait = 4;
        const int LongestWait = 2048;

        internal readonly int[] Starts = new int[SymbolCount + 1];
        internal int Seen;
        internal int Renewal;

        readonly int[] _counts = new int[SymbolCount];

        internal Context()
        {
            for (var i = 0; i < SymbolCount; i++) _counts[i] = 1;
        }

        internal void Count(int symbol)
        {
            _counts[symbol] += Increment;
            Seen++;
        }

        // At least 1 for every symbol, Total together.
        internal void Renew()
        {
            if (SumOfCounts() > MostCounts)
                for (var i = 0; i < SymbolCount; i++) _counts[i] >>= 1;

            long sum = SumOfCounts();
            var rest = Total;
            for (var i = 0; i < SymbolCount; i++)
            {
                var frequency = 1 + (int)(_counts[i] * (long)(Total - SymbolCount) / sum);
                Starts[i + 1] = frequency;
                rest -= frequency;
            }
            Starts[1] += rest;
            for (var i = 0; i < SymbolCount; i++) Starts[i + 1] += Starts[i];

            Renewal = Seen + Math.Min(Math.Max(Seen >> 2, ShortestWait), LongestWait);
        }

        internal int Find(int slot)
        {
            int low = 0, high = SymbolCount;
            while (high - low > 1)
            {
                var middle = (low + high) / 2;
                if (Starts[middle] <= slot) low = middle;
                else high = middle;
            }
            return low;
        }

        int SumOfCounts()
        {
            var sum = 0;
            for (var i = 0; i < SymbolCount; i++) sum += _counts[i];
            return sum;
        }
    }

    #endregion
}

}
