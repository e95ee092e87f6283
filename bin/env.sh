# Sourced by the commands beside it. `need EXTRAS "$@"` makes sure that a
# virtual environment holds what these extras of pyproject.toml name (`dev`
# includes all others), and sets $python. Where one of the command's arguments
# is --help it installs nothing: it prints the help instead, and exits.
# SPATIUS_AVATAR_VENV names its place; without it, .venv beside this folder.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${SPATIUS_AVATAR_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
python=$venv/bin/python
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

_made= # what this run made, and removes when it does not get to its end
_lock=

need() {
  local stamp=installed-${1//,/-} want
  want=$(cksum <"$root/pyproject.toml")
  _is_ready "$stamp" "$want" && return
  case " ${*:2} " in *" --help "*) _print_help ;; esac
  trap _clean_up EXIT
  trap 'echo stopped >&2; exit 130' INT TERM HUP
  _take_lock
  if ! _is_ready "$stamp" "$want"; then # another command may have done it
    if [ -e "$venv" ] || [ -L "$venv" ]; then
      _add "$1"
      echo "$want" >"$venv/$stamp"
    else
      _make "$1" "$stamp" "$want"
    fi
  fi
  _clean_up
  trap - EXIT INT TERM HUP
}

_is_ready() {
  local stamp
  [ -x "$python" ] || return 1
  for stamp in "$1" installed-dev; do
    [ "$(cat "$venv/$stamp" 2>/dev/null)" = "$2" ] && return
  done
  return 1
}

_print_help() {
  local base
  base=$(_base_python) || exit 1
  exec "$base" -I "$root/devkit/plain_help.py" "$f"
}

# Built aside and moved into place: whatever ends this run, $venv is either
# complete or not there.
_make() {
  local base output aside=$venv.new.$$
  base=$(_base_python) || exit 1
  echo "Making $venv (once) ..." >&2
  mkdir "$aside" || _fail "No virtual environment can be made there."
  _made=$aside
  if ! "$base" -c 'import ensurepip' 2>/dev/null; then
    _fail "$base cannot make virtual environments. On Debian and Ubuntu:" \
      "apt-get install python3-venv"
  fi
  output=$(cd / && "$base" -m venv "$aside" 2>&1) ||
    _fail "$output" $'\n'"$base could not make a virtual environment."
  _install "$aside/bin/python" "$1"
  echo "$3" >"$aside/$2"
  _relocate "$aside"
  mv "$aside" "$venv" || _fail "$aside could not be moved into place."
  _made=
}

_add() {
  if [ ! -x "$python" ]; then
    _fail "$venv is there, but $python does not run. Move it out of the way."
  fi
  if [ ! -w "$venv" ]; then
    _fail "$venv belongs to $(_owner "$venv"), and you are $(id -un): what" \
      "this command needs cannot be added to it."
  fi
  if ! "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m ensurepip >/dev/null ||
      _fail "$venv has no pip. Move it out of the way."
  fi
  _install "$python" "$1"
}

_install() {
  local output source=$root how=--editable
  if [ ! -w "$root" ]; then
    # An installation writes into the folder that it installs from.
    how= source=${_made:-$venv}/source
    mkdir -p "$source"
    cp -R "$root"/* "$source" && chmod -R u+w "$source"
  fi
  echo "Installing what this command needs (once) ..." >&2
  output=$("$1" -m pip install --quiet --quiet --disable-pip-version-check \
    $how "$source[$2]" 2>&1) ||
    _fail "$output" $'\n'"pip could not install what this command needs."
}

# Scripts of the environment name its folder.
_relocate() {
  local file text
  for file in "$1"/bin/* "$1/pyvenv.cfg"; do
    if [ -f "$file" ] && [ ! -L "$file" ] && grep -qIF "$1" "$file"; then
      text=$(cat "$file")
      text=${text//"$1"/"$venv"}
      printf '%s\n' "$text" >"$file"
    fi
  done
}

_base_python() {
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

_take_lock() {
  local place=$venv.lock
  mkdir -p "$(dirname "$venv")" 2>/dev/null || true
  if command -v flock >/dev/null; then
    { exec 9>"$place"; } 2>/dev/null || _cannot_write
    flock -n 9 || { _say_waiting; flock 9; }
    return
  fi
  # A link that points to its owner's number is made in one step.
  local owner is_missing=
  until ln -s "$$" "$place.link" 2>/dev/null; do
    if owner=$(readlink "$place.link"); then
      is_missing=
      if kill -0 "$owner" 2>/dev/null; then
        _say_waiting
        sleep 0.2
      else # it was killed
        rm -f "$place.link"
      fi
    elif [ -n "$is_missing" ]; then
      _cannot_write
    else # its owner may just have removed it
      is_missing=1
    fi
  done
  _lock=$place.link
}

_say_waiting() {
  if [ -z "${_waiting:-}" ]; then
    _waiting=1
    echo "Waiting for another command that sets up $venv ..." >&2
  fi
}

_clean_up() {
  if [ -n "$_made" ]; then rm -rf "$_made"; fi
  if [ -n "$_lock" ]; then rm -f "$_lock"; fi
  _made= _lock=
  exec 9>&-
}

_cannot_write() {
  local place
  place=$(dirname "$venv")
  if [ -d "$place" ] && [ -e "$venv" ] && [ ! -w "$venv" ]; then
    _fail "$venv belongs to $(_owner "$venv"), and you are $(id -un): what" \
      "this command needs cannot be added to it."
  fi
  _fail "$place is not writable for $(id -un), so no virtual environment can" \
    "be made there."
}

_owner() {
  ls -ld "$1" | awk '{ print $3 }'
}

_fail() {
  echo "$*" >&2
  echo "Another place for the environment can be named with" \
    "SPATIUS_AVATAR_VENV=/path/to/folder" >&2
  exit 1
}
