#!/usr/bin/env bash
# Installs the Autobahn test suite (wstest, a Python 2.7 program) into a virtual environment of its own.
#
# usage: install.sh [DIR]     DIR: default $SOCKEYE_CONFORMANCE_DIR/autobahn, or target/conformance/autobahn
#
# Python 2.7 is $PY27, or the newest 2.7 of pyenv, or python2.7 on the PATH. Nothing is installed into it.
# Exit status: 0 installed (or it was already), 3 no Python 2.7, anything else failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${1:-${SOCKEYE_CONFORMANCE_DIR:-$root/target/conformance}/autobahn}
constraints=$here/constraints.txt
stamp=$dir/installed-constraints.txt

# Written last: an installation that was interrupted, or made from other versions, is made anew.
if cmp -s "$constraints" "$stamp" && [ -x "$dir/bin/wstest" ]; then
  echo "Autobahn is installed in $dir"
  exit 0
fi

is_python27() { [ -n "$1" ] && "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; }

python=
for candidate in "${PY27:-}" \
  "$(find "${PYENV_ROOT:-$HOME/.pyenv}/versions" -path '*/2.7.*/bin/python2.7' 2>/dev/null | sort -V | tail -1)" \
  "$(command -v python2.7 || true)"; do
  if is_python27 "$candidate"; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "no Python 2.7: pyenv install 2.7.18, or set PY27" >&2
  exit 3
fi

rm -rf "$dir"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
export PIP_DISABLE_PIP_VERSION_CHECK=1
# The last virtualenv that runs on Python 2.7, used once.
"$python" -m pip install -q --target "$dir/bootstrap" 'virtualenv==20.15.1' 2>"$dir/install.log" ||
  { cat "$dir/install.log" >&2; exit 1; }
PYTHONPATH=$dir/bootstrap "$python" -m virtualenv -q "$dir"
"$dir/bin/pip" install -q -c "$constraints" autobahntestsuite 2>"$dir/install.log" ||
  { cat "$dir/install.log" >&2; exit 1; }
"$dir/bin/wstest" --help >/dev/null
cp "$constraints" "$stamp"
echo "Autobahn is installed in $dir"
