#!/bin/sh
# Make a virtual environment with pinned versions, of this project with EXTRAS, or without them of
# everything that CONSTRAINTS names:
#   setup.sh FOLDER PYTHON CONSTRAINTS [EXTRAS]    e.g. setup.sh .venv python3.11 requirements/hub.txt hub,sim,dev
set -eu
folder=$1 python=$2 constraints=$3 extras=${4:-}
as_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if as_root; then
        echo "Installing python$version-venv, which $python lacks"
        apt-get update -qq && apt-get install -y -qq "python$version-venv" >/dev/null
    else
        echo "$python has no venv module. Remedy: sudo apt-get install python$version-venv" >&2
        exit 1
    fi
fi
# OpenCV's wheel draws on these system libraries, which a minimal Debian or Ubuntu lacks.
if ! { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -q libGL.so.1; then
    if as_root; then
        echo "Installing libgl1, libglib2.0-0 and libxcb1, which OpenCV needs"
        apt-get update -qq && apt-get install -y -qq libgl1 libglib2.0-0 libxcb1 >/dev/null
    else
        echo "OpenCV needs libGL. Remedy: sudo apt-get install libgl1 libglib2.0-0 libxcb1" >&2
        exit 1
    fi
fi
echo "Setting up $folder with $("$python" --version) (some minutes at the first time)"
"$python" -m venv --clear "$folder"
"$folder/bin/python" -m pip install -q --disable-pip-version-check "uv==$(cat requirements/uv.txt)"
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}"
# The system's certificates, where there are any: a factory's proxy has its own authority.
certificates=""
[ ! -s /etc/ssl/certs/ca-certificates.crt ] || certificates=--system-certs
if [ -n "$extras" ]; then
    set -- --compile-bytecode -c "$constraints" -e ".[$extras]"
else
    # Not compiled ahead: most of a server's packages are never imported.
    set -- -r "$constraints"
fi
# shellcheck disable=SC2086 # empty or one word, on purpose
"$folder/bin/uv" pip install -q $certificates --python "$folder/bin/python" "$@"
touch "$folder/.ready"
