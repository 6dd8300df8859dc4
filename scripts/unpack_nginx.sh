#!/usr/bin/env bash
# Makes sure that there is an nginx to measure against: the installed one, or else Debian's package unpacked into
# the folder given. It is unpacked and not installed because installing would start a server on port 80.
set -euo pipefail
folder=$1

runs() { "$1" -e stderr -v >/dev/null 2>&1; }

for nginx in nginx /usr/sbin/nginx "$folder/usr/sbin/nginx"; do
    if runs "$nginx"; then
        exit 0
    fi
done
if ! command -v apt-get >/dev/null; then
    echo "The benchmark needs nginx, and there is no apt-get to fetch it with. Install nginx, then run make again." >&2
    exit 1
fi

rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
if ! apt-get download -qq nginx 2>/dev/null; then
    as_root=()
    if ((EUID != 0)); then
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    apt-get download -qq nginx
fi
dpkg-deb --extract nginx_*.deb .
rm nginx_*.deb
if ! runs usr/sbin/nginx; then
    echo "The unpacked nginx does not run; libraries it needs:" >&2
    ldd usr/sbin/nginx >&2
    exit 1
fi
