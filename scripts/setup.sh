#!/bin/sh
# Find a Python 3.11 and let scripts/set_up make or check the environment. `make` calls this before every command.
# Shell, because there may be no Python yet; everything that needs more than a loop is in set_up.
#   PYTHON=/path/to/python3.11   the interpreter to build with (default: python3.11, then python3, then python)

root=$(cd "${0%"${0##*/}"}./.." && pwd -P) || exit 1

# A finished environment checks itself with its own Python: no search, and nothing said.
if [ -x "$root/.venv/bin/python" ] && "$root/.venv/bin/python" -IS "$root/scripts/set_up" --check 2>/dev/null; then
    exit 0
fi

if [ -n "$PYTHON" ]; then set -- "$PYTHON"; else set -- python3.11 python3 python; fi
found=
for candidate; do
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    [ "$version" = 3.11 ] && exec "$candidate" -I "$root/scripts/set_up"
    found="${found:+$found, }$candidate is Python $version"
done

echo "set-up: Python 3.11 is needed (${found:-no ${PYTHON:-Python} that runs}); install it (Debian, Ubuntu: sudo apt install" \
    "python3.11 python3.11-venv; macOS: brew install python@3.11) or name yours: make run PYTHON=/path/to/python3.11" >&2
exit 1
