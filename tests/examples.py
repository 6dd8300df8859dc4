"""The programs in examples/, run as a reader of the docs would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.runtime.transports.fault_server import FaultServer


def run(example: Path, server: FaultServer, folder: Path) -> subprocess.CompletedProcess[str]:
    """What one did, in that folder, whose only endpoint is the server."""
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return subprocess.run(
        [sys.executable, str(example)],
        cwd=folder,
        env={**environ, "OPENAI_BASE_URL": server.url, "SHOWCALLER_MODEL": "m"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
