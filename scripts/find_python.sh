#!/bin/sh
# Print the newest fitting interpreter: find_python.sh MINIMUM [MAXIMUM_MINOR]
# for instance `find_python.sh 3.11` or `find_python.sh 3.10 10`. $PYTHON overrides.
set -eu
minimum=$1
maximum_minor=${2:-14}
fits() {
    "$1" - "$minimum" "$maximum_minor" 2>/dev/null <<'PY'
import sys
minimum = tuple(int(n) for n in sys.argv[1].split("."))
sys.exit(not (minimum <= sys.version_info[:2] <= (3, int(sys.argv[2]))))
PY
}
candidates=${PYTHON:-}
minor=$maximum_minor
while [ "$minor" -ge "${minimum#*.}" ]; do
    candidates="$candidates python3.$minor"
    for found in "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python3; do
        [ -x "$found" ] && candidates="$candidates $found"
    done
    minor=$((minor - 1))
done
# Torch and its companions publish wheels for a new Python late: 3.11 to 3.13 are the safe ones.
preferred=""
for candidate in python3.11 python3.12 python3.13 python3 $candidates; do
    path=$(command -v "$candidate" 2>/dev/null) || continue
    if fits "$path"; then preferred=$path; break; fi
done
if [ -n "${PYTHON:-}" ] && fits "$PYTHON"; then preferred=$PYTHON; fi
if [ -z "$preferred" ]; then
    echo "No Python from $minimum to 3.$maximum_minor was found." >&2
    echo "Remedy: apt-get install python$minimum python$minimum-venv, or set PYTHON=/path/to/python" >&2
    exit 1
fi
echo "$preferred"
