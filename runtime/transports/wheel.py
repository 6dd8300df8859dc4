"""A wheel on a Python package index, pinned by its sha256."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Wheel:
    """A wheel as it is known in advance.

    Attributes:
        project: its name on the index.
        version: its version.
        filename: its file name on the index.
        sha256: of the file, in hexadecimal digits.
        size: of the file, in bytes.
    """

    project: str
    version: str
    filename: str
    sha256: str
    size: int
