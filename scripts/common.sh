# Sourced by the scripts beside it: finds a Python and makes a virtual environment.

# python_at_least_310: the interpreter to use: $PYTHON, else the first python3 on the PATH that is 3.10 or newer.
python_at_least_310() {
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "No Python 3.10 or newer was found. Install one, or name it: PYTHON=/path/to/python3 $0" >&2
    return 1
}

# environment FOLDER PYTHON REQUIREMENT...: make FOLDER a virtual environment with these installed.
environment() {
    local folder=$1 python=$2
    shift 2
    [ -x "$folder/bin/python" ] || "$python" -m venv "$folder" || {
        echo "Python's venv module does not work. On Debian and Ubuntu: apt-get install python3-venv" >&2
        return 1
    }
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}
