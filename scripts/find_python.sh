#!/usr/bin/env bash
# Prints the path of a Python >= 3.11 that can make virtual environments; on Debian it installs what is missing.
set -euo pipefail
cd "$(dirname "$0")"

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

pick() {
    local candidate path
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3 \
        /usr/bin/python3.11 /usr/bin/python3; do
        path=$(command -v "$candidate") || continue
        if new_enough "$path"; then
            echo "$path"
            return
        fi
    done
    return 1
}

if ! python=$(pick); then
    ./system_packages.sh python3 python3-venv
    hash -r
    python=$(pick) || {
        echo "Showcaller needs Python 3.11 or newer. Install it, or name it: make PYTHON=/path/to/python3.11" >&2
        exit 1
    }
fi

# Debian splits ensurepip off into a package of its own, named after the version.
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    ./system_packages.sh "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
fi
echo "$python"
