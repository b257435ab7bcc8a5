"""Signed integers as bits, entropy-coded: what the weights of a packed file are written with.

A magnitude is a symbol, which is coded with frequencies learned on the way, and low bits, which are stored as
they are (docs/packed-format.md, section 5). The frequencies depend on how large the integers just before were.
All is integer arithmetic, so that every language computes the same.
"""

from __future__ import annotations

import numpy as np

SYMBOLS = 124
"""Symbols 0..7 are magnitudes; four more for each doubling, up to 2^32 - 1."""
WINDOW = 16
"""How many integers before one decide about its context."""
CONTEXTS = 16
"""A context is the bit length of the window's sum, at most 15."""

_PRECISION = 16
_TOTAL = 1 << _PRECISION
_LOWEST = 1 << 31
_WORD = 32
_MASK = (1 << _WORD) - 1
_INCREMENT = 32
_MOST_COUNTS = 1 << 16
_SHORTEST, _LONGEST = 4, 2048
_CHUNK = 1 << 18


class BrokenStream(ValueError):
    """The bytes are not a stream of integers: cut off, or damaged."""


class _Context:
    """The frequencies of one context. `starts[s]` is the sum of those before symbol s."""

    __slots__ = ("counts", "next", "seen", "starts")

    def __init__(self) -> None:
        self.counts = [1] * SYMBOLS
        self.starts: list[int] = []
        self.seen = 0
        self.next = 0

    def renew(self) -> None:
        """Frequencies from the counts so far; at least 1 each, 65,536 together."""
        if sum(self.counts) > _MOST_COUNTS:
            self.counts = [count >> 1 for count in self.counts]
        total = sum(self.counts)
        frequencies = [1 + count * (_TOTAL - SYMBOLS) // total for count in self.counts]
        frequencies[0] += _TOTAL - sum(frequencies)
        starts = [0]
        for frequency in frequencies:
            starts.append(starts[-1] + frequency)
        self.starts = starts
        self.next = self.seen + min(max(self.seen >> 2, _SHORTEST), _LONGEST)


class Models:
    """The contexts of one kind of integers (weights, or scales), shared by all arrays of a file."""

    def __init__(self) -> None:
        self.contexts = [_Context() for _ in range(CONTEXTS)]


def split(magnitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Symbols, the number of low bits and the low bits of magnitudes 0..2^32 - 1 (int64)."""
    # frexp is exact here: 2^(exponent - 1) <= magnitude < 2^exponent.
    length = np.frexp(magnitudes.astype(np.float64))[1].astype(np.int64)
    low = np.maximum(length - 3, 0)
    return (low << 2) + (magnitudes >> low), low, magnitudes & ((1 << low) - 1)


def join(symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The magnitudes without their low bits, and the number of these, of symbols (int64)."""
    low = np.maximum((symbols >> 2) - 1, 0)
    return (symbols - (low << 2)) << low, low


class Encoder:
    """Collects arrays of integers and gives the two sections of a packed file."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._bits: list[np.ndarray] = []

    def add(self, values: np.ndarray, models: Models) -> None:
        """Append an array; magnitudes up to 2^32 - 1. Context and window start over with each array."""
        values = np.asarray(values, dtype=np.int64).reshape(-1)
        magnitudes = np.abs(values)
        symbols, low_count, low = split(magnitudes)
        floors = magnitudes - low
        sums = np.concatenate([[0], np.cumsum(floors)])
        here = np.arange(values.size)
        window = sums[here] - sums[np.maximum(here - WINDOW, 0)]
        chosen = np.minimum(np.frexp(window.astype(np.float64))[1], CONTEXTS - 1)
        contexts, starts, ends = models.contexts, self._starts, self._ends
        for symbol, number in zip(symbols.tolist(), chosen.tolist(), strict=True):
            context = contexts[number]
            if context.seen == context.next:
                context.renew()
            cumulative = context.starts
            starts.append(cumulative[symbol])
            ends.append(cumulative[symbol + 1])
            context.counts[symbol] += _INCREMENT
            context.seen += 1
        counts = low_count + (magnitudes > 0)
        raw = np.where(magnitudes > 0, (low << 1) | (values < 0), 0)
        for begin in range(0, values.size, _CHUNK):
            self._bits.append(_spread(raw[begin : begin + _CHUNK], counts[begin : begin + _CHUNK]))

    def finish(self) -> tuple[bytes, bytes]:
        """The symbols' section (32-bit words, little-endian) and the section of sign and low bits."""
        state = _LOWEST
        words: list[int] = []
        for start, end in zip(reversed(self._starts), reversed(self._ends), strict=True):
            frequency = end - start
            if state >= frequency << (_LOWEST.bit_length() - 1 + _WORD - _PRECISION):
                words.append(state & _MASK)
                state >>= _WORD
            state = ((state // frequency) << _PRECISION) + state % frequency + start
        words += [state & _MASK, state >> _WORD]
        bits = np.concatenate(self._bits) if self._bits else np.zeros(0, np.uint8)
        return np.array(words[::-1], "<u4").tobytes(), np.packbits(bits, bitorder="little").tobytes()


class Decoder:
    """Reads back, in the same order and with the same kinds, what an `Encoder` was given."""

    def __init__(self, symbols: bytes, bits: bytes) -> None:
        if len(symbols) < 8 or len(symbols) % 4:
            raise BrokenStream("the section of symbols is truncated")
        self._words: list[int] = np.frombuffer(symbols, "<u4").tolist()
        self._state = self._words[0] << _WORD | self._words[1]
        self._place = 2
        self._bits = np.frombuffer(bits, np.uint8)
        self._bit = 0

    def take(self, count: int, models: Models) -> np.ndarray:
        """The next array, of `count` integers (int64). Raises BrokenStream where there are no more."""
        symbols = self._symbols(count, models)
        parts = []
        for begin in range(0, count, _CHUNK):
            parts.append(self._signed(symbols[begin : begin + _CHUNK]))
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _symbols(self, count: int, models: Models) -> np.ndarray:
        from bisect import bisect_right

        contexts, words = models.contexts, self._words
        state, place, last = self._state, self._place, len(words)
        floor_of = join(np.arange(SYMBOLS, dtype=np.int64))[0].tolist()
        found: list[int] = []
        recent = [0] * WINDOW
        total = 0
        for index in range(count):
            length = total.bit_length()
            context = contexts[length if length < CONTEXTS else CONTEXTS - 1]
            if context.seen == context.next:
                context.renew()
            starts = context.starts
            slot = state & (_TOTAL - 1)
            symbol = bisect_right(starts, slot) - 1
            start = starts[symbol]
            state = (starts[symbol + 1] - start) * (state >> _PRECISION) + slot - start
            if state < _LOWEST:
                if place == last:
                    raise BrokenStream("the section of symbols ends too early")
                state = state << _WORD | words[place]
                place += 1
            context.counts[symbol] += _INCREMENT
            context.seen += 1
            found.append(symbol)
            floor = floor_of[symbol]
            total += floor - recent[index % WINDOW]
            recent[index % WINDOW] = floor
        self._state, self._place = state, place
        return np.array(found, np.int64)

    def _signed(self, symbols: np.ndarray) -> np.ndarray:
        floors, low = join(symbols)
        counts = low + (symbols > 0)
        end = self._bit + int(counts.sum())
        if end > 8 * self._bits.size:
            raise BrokenStream("the section of bits ends too early")
        bits = np.unpackbits(self._bits[self._bit // 8 : (end + 7) // 8], bitorder="little")
        raw = _gather(bits[self._bit % 8 :], counts)
        self._bit = end
        magnitudes = floors + (raw >> 1)
        return np.where(raw & 1, -magnitudes, magnitudes)

    @property
    def used_bits(self) -> int:
        """How many bits of both sections have been read, the first words (the coder's state) not counted."""
        return 32 * (self._place - 2) + self._bit

    def finish(self) -> None:
        """Raises BrokenStream unless both sections are used up, to the last bit."""
        if self._state != _LOWEST or self._place != len(self._words):
            raise BrokenStream("the section of symbols does not end where its integers do")
        if (self._bit + 7) // 8 != self._bits.size:
            raise BrokenStream("the section of bits does not end where its integers do")


def _spread(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The lowest `counts` bits of each value, the lowest first, one byte a bit."""
    ends = np.cumsum(counts)
    within = np.arange(int(ends[-1]) if ends.size else 0) - np.repeat(ends - counts, counts)
    return ((np.repeat(values, counts) >> within) & 1).astype(np.uint8)


def _gather(bits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The inverse of `_spread`."""
    values = np.zeros(counts.size, np.int64)
    begins = np.cumsum(counts) - counts
    for place in range(int(counts.max()) if counts.size else 0):
        there = counts > place
        values[there] |= bits[begins[there] + place].astype(np.int64) << place
    return values
