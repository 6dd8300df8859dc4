"""Reads the head of a GGUF file to say, before anything loads it, whether it is one and whether it is whole.

Only lengths and offsets are read; the values stay where they are, so that a file of many gigabytes is cheap.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32

_FIXED_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of each metadata type of fixed size."""
_UINT32, _STRING, _ARRAY = 4, 8, 9

_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
}
"""Elements and bytes of one block of each tensor type (ggml.h); a type not listed counts as no bytes."""


class GgufError(ValueError):
    """The file is not a whole GGUF file; the text says what is wrong with it."""


def check_gguf(path: Path) -> None:
    """Raise GgufError unless the file is GGUF and holds all the tensors that its head announces.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(24)
        if head[:4] != MAGIC:
            raise GgufError("it is not a GGUF file (it does not begin with the letters GGUF)")
        if len(head) < 24:
            raise GgufError("it is truncated inside its head")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                needed = _Head(data).file_size()
            except (struct.error, OverflowError):
                raise GgufError("it is truncated inside its head") from None
            if needed > len(data):
                raise GgufError(f"it is truncated: {len(data):,} of {needed:,} bytes are there")


class _Head:
    """A cursor over the head; every step moves forward, so reading ends with the file at the latest."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._position = len(MAGIC)
        self._alignment = _DEFAULT_ALIGNMENT

    def file_size(self) -> int:
        """Bytes that the file must have for its last tensor to be whole."""
        version = self._number("<I")
        if version not in _VERSIONS:
            raise GgufError(f"its GGUF version {version} is not one of {', '.join(map(str, _VERSIONS))}")
        tensors, pairs = self._number("<Q"), self._number("<Q")
        for _ in range(pairs):
            self._pair()
        end = max((self._tensor_end() for _ in range(tensors)), default=None)
        if end is None:
            return self._position
        start = -(-self._position // self._alignment) * self._alignment
        return start + end

    def _number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self._data, self._position)
        self._position += struct.calcsize(form)
        return int(value)

    def _string(self) -> bytes:
        length = self._number("<Q")
        text = self._data[self._position : self._position + length]
        self._position += length
        return text

    def _pair(self) -> None:
        key, kind = self._string(), self._number("<I")
        if key == b"general.alignment" and kind == _UINT32:
            self._alignment = max(1, self._number("<I"))
        elif kind == _ARRAY:
            kind, length = self._number("<I"), self._number("<Q")
            self._skip(kind, length)
        else:
            self._skip(kind, 1)

    def _skip(self, kind: int, count: int) -> None:
        if kind == _STRING:
            for _ in range(count):
                length = self._number("<Q")
                self._position += length
        elif kind in _FIXED_SIZES:
            self._position += _FIXED_SIZES[kind] * count
        else:
            raise GgufError(f"its head is damaged (a value of the unknown type {kind})")

    def _tensor_end(self) -> int:
        self._string()
        elements = 1
        for _ in range(self._number("<I")):
            elements *= self._number("<Q")
        kind, offset = self._number("<I"), self._number("<Q")
        per_block, block_bytes = _BLOCKS.get(kind, (1, 0))
        return offset + elements // per_block * block_bytes
