#!/usr/bin/env bash
# Installs those of the named Debian packages that are missing; says what to do where that is not possible.
set -euo pipefail

missing=()
for package in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || status=absent
    [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
    as_root=(sudo)
fi
if ! command -v apt-get >/dev/null || ! command -v "${as_root[0]:-true}" >/dev/null; then
    echo "These system packages are missing and cannot be installed from here: ${missing[*]}" >&2
    echo "(the names are Debian's). Install them, then run make again." >&2
    exit 1
fi

echo "Installing system packages: ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null
