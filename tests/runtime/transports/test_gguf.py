"""Whether a file is a whole GGUF is said before anything loads it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from showcaller.runtime.transports.gguf import GgufError, check_gguf

F32, Q4_1 = 0, 3
UINT32, STRING, ARRAY = 4, 8, 9


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(*, version: int = 3, alignment: int = 64, tensor: int = Q4_1, kind: int = STRING) -> bytes:
    """A small GGUF: an alignment, a list of words, and one tensor of 64 elements at offset 128."""
    words = b"".join(map(text, ("hello", "", "world")))
    head = b"GGUF" + struct.pack("<IQQ", version, 1, 2)
    head += text("general.alignment") + struct.pack("<II", UINT32, alignment)
    head += text("tokens") + struct.pack("<IIQ", ARRAY, kind, 3) + words
    head += text("weights") + struct.pack("<IQQIQ", 2, 32, 2, tensor, 128)
    head += b"\0" * (-len(head) % alignment)
    size = 2 * 20 if tensor == Q4_1 else 64 * 4
    return head + b"\0" * 128 + b"\1" * size


def check(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    check_gguf(path)


@pytest.mark.parametrize("tensor", [F32, Q4_1])
@pytest.mark.parametrize("alignment", [32, 64])
def test_a_whole_file_passes(tmp_path: Path, tensor: int, alignment: int) -> None:
    """Nothing is wrong with a file that holds all it announces."""
    check(tmp_path / "whole.gguf", gguf(tensor=tensor, alignment=alignment))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.integers(min_value=4, max_value=len(gguf()) - 1))
def test_every_truncation_is_noticed(tmp_path: Path, kept: int) -> None:
    """One missing byte at the end is enough."""
    with pytest.raises(GgufError, match="truncated"):
        check(tmp_path / "short.gguf", gguf()[:kept])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=200))
def test_junk_behind_the_magic_is_a_gguf_error_and_nothing_else(tmp_path: Path, junk: bytes) -> None:
    """A damaged head never ends in another exception, nor in a loop."""
    content = b"GGUF" + struct.pack("<IQQ", 3, 2**40, 2**40) + junk
    with pytest.raises(GgufError):
        check(tmp_path / "junk.gguf", content)


@pytest.mark.parametrize("content", [b"", b"GG", b"<html>not found</html>", b"PK\3\4" + b"\0" * 40])
def test_a_foreign_file_is_named_as_one(tmp_path: Path, content: bytes) -> None:
    """A web page or an archive under the name of a model is not taken for a broken model."""
    with pytest.raises(GgufError, match="not a GGUF file"):
        check(tmp_path / "foreign.gguf", content)


def test_an_unknown_version_is_named(tmp_path: Path) -> None:
    """A big-endian or future file says which version it is."""
    with pytest.raises(GgufError, match="version 77"):
        check(tmp_path / "future.gguf", gguf(version=77))


def test_an_unknown_value_type_is_damage(tmp_path: Path) -> None:
    """Without knowing a value's length nothing behind it can be found."""
    with pytest.raises(GgufError, match="damaged"):
        check(tmp_path / "damaged.gguf", gguf(kind=99))
