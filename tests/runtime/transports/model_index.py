"""A tiny model in a wheel, and what a package index on loopback says of it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

from pytest_httpserver import HTTPServer

from showcaller.runtime.transports.model_store import KnownModel
from showcaller.runtime.transports.wheel import Wheel

MODEL = b"GGUF" + bytes(range(256)) * 400
WHEEL_NAME = "tiny_model-1.0-py3-none-any.whl"
PAGE = "/simple/tiny-model/"
FILE = f"/files/{WHEEL_NAME}"


def a_wheel(model: bytes = MODEL) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as wheel:
        info = "tiny_model-1.0.dist-info"
        wheel.writestr("tiny_model/tiny.gguf", model)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return archive.getvalue()


WHEEL = a_wheel()


def a_known_model(wheel: bytes = WHEEL, model: bytes = MODEL) -> KnownModel:
    return KnownModel(
        title="Tiny",
        filename="tiny.gguf",
        member="tiny_model/tiny.gguf",
        sha256=hashlib.sha256(model).hexdigest(),
        size=len(model),
        wheel=Wheel(
            project="tiny-model",
            version="1.0",
            filename=WHEEL_NAME,
            sha256=hashlib.sha256(wheel).hexdigest(),
            size=len(wheel),
        ),
    )


def downloads(index: HTTPServer) -> int:
    return sum(request.path == FILE for request, _ in index.log)


def nothing_is_left_in(cache: Path) -> bool:
    return [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []
