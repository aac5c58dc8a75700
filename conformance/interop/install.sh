#!/usr/bin/env bash
# Installs the peers of the conformance table, by pinned version, each part into a directory of its own.
#
# usage: install.sh node|python|system DIR
#   node    npm's ws and undici, by package-lock.json          needs Node.js 20 with npm
#   python  websockets and aiohttp, by requirements.txt        needs Python 3.11: $PYTHON3, or python3
#   system  nginx, HAProxy, websocketd, Firefox, openssl       needs apt-get, and to be root or sudo
#
# Exit status: 0 installed (or it was already), 3 what the part needs is missing, anything else failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
part=$1
dir=$2
mkdir -p "$dir"

# The stamp is written last: an installation that was interrupted, or made from other versions, is made anew.
installed() { cmp -s "$here/$1" "$dir/installed-$1"; }
stamp() { cp "$here/$1" "$dir/installed-$1"; }

case $part in
  node)
    command -v node >/dev/null && command -v npm >/dev/null || exit 3
    installed package-lock.json && exit 0
    cp "$here/package.json" "$here/package-lock.json" "$dir/"
    (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund)
    stamp package-lock.json
    ;;
  python)
    installed requirements.txt && "$dir/bin/python" -c '' && exit 0
    python=${PYTHON3:-python3}
    "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || exit 3
    "$python" -m venv --clear "$dir"
    "$dir/bin/pip" install -q --disable-pip-version-check --no-deps -r "$here/requirements.txt"
    stamp requirements.txt
    ;;
  system)
    command -v apt-get >/dev/null || exit 3
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -q
    # At this run level the packages start no daemon.
    $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
      apt-get install -qy --no-upgrade --no-install-recommends nginx haproxy websocketd firefox-esr openssl
    ;;
  *)
    echo "no part '$part'" >&2
    exit 2
    ;;
esac
