# Sourced by the commands beside it. `need EXTRAS` makes sure that .venv holds
# what these extras of pyproject.toml name, and sets $python.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

base_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 \
    python3.10; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "Python 3.10 or later is needed, and none was found; name one with" \
    "PYTHON=/path/to/python3" >&2
  return 1
}

need() {
  local base want stamp=$root/.venv/installed-${1//,/-}
  if [ ! -x "$python" ]; then
    base=$(base_python) || exit 1
    echo "Making $root/.venv ..." >&2
    if ! (cd / && "$base" -m venv "$root/.venv"); then
      rm -rf "$root/.venv"
      echo "No virtual environment could be made with $base. On Debian and" \
        "Ubuntu: apt-get install python3-venv" >&2
      exit 1
    fi
  fi
  want=$(cksum <"$root/pyproject.toml")
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    echo "Installing what this command needs (once) ..." >&2
    "$python" -m pip install --quiet --quiet --disable-pip-version-check \
      --editable "$root[$1]" >&2 || exit 1
    echo "$want" >"$stamp"
  fi
}
