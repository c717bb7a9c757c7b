#!/bin/sh
# Make a virtual environment and install this checkout into it with an extra.
# usage: environment.sh FOLDER EXTRA; PYTHON names the interpreter, else the first that fits is taken.
set -eu
folder=$1
extra=$2

fits() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

if [ -n "${PYTHON:-}" ]; then
    if ! fits "$PYTHON"; then
        echo "overc: PYTHON=$PYTHON is no Python 3.10 or newer" >&2
        exit 1
    fi
else
    for PYTHON in python3 python3.14 python3.13 python3.12 python3.11 python3.10 none; do
        fits "$PYTHON" && break
    done
fi
if [ "$PYTHON" = none ]; then
    echo "overc: Python 3.10 or newer is needed and was not found:" \
        "install it, or name it: make run PYTHON=/path/to/python3" >&2
    exit 1
fi

if [ ! -x "$folder/bin/python" ] || ! fits "$folder/bin/python"; then
    rm -rf "$folder"
    if ! made=$("$PYTHON" -m venv "$folder" 2>&1); then
        rm -rf "$folder"
        echo "$made" | tail -n 5 >&2
        echo "overc: $PYTHON can't make a virtual environment;" \
            "on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
fi

echo "overc: installing Python packages into $folder"
# In the default mode an editable install hides twisted/plugins from twistd.
if ! "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    --config-settings editable_mode=compat --editable ".[$extra]" >"$folder/pip.log" 2>&1; then
    tail -n 15 "$folder/pip.log" >&2
    echo "overc: pip could not install the packages; the lines above say why" >&2
    exit 1
fi
# An earlier list of plugins would hide ours.
find "$folder" -name dropin.cache -delete
