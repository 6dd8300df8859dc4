"""`python -m showcaller`: the command line."""

from __future__ import annotations

from showcaller.runtime.cli.main import main

if __name__ == "__main__":
    main()
