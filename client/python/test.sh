#!/bin/sh
# Checks and tests the Python client against a real broker with simulated readers. Arguments go to pytest.
# Exit code 77 (1 in CI): a tool is missing on this machine; a line on stderr names it.
set -eu
cd "$(dirname "$0")"

./build.sh
root=$(cd ../.. && pwd)
output=$(cd "$root" && cd "${CARGO_TARGET_DIR:-target}/clients/python" && pwd)
if [ -z "${CARDBROKERD:-}" ]; then
    CARDBROKERD=$(dirname "$(dirname "$output")")/debug/cardbrokerd
    [ -x "$CARDBROKERD" ] || (cd "$root" && cargo build --locked --quiet -p cardbroker-server)
fi
export CARDBROKERD CARDBROKER_PROGRAMS="$output/bin"

# Keeps caches out of the sources.
export PYTHONDONTWRITEBYTECODE=1 RUFF_CACHE_DIR="$output/ruff" MYPYPATH="$output/package:tests"
bin=$output/venv/bin
"$bin/ruff" format --quiet --check .
"$bin/ruff" check --quiet .
"$bin/mypy" --cache-dir "$output/mypy" --no-error-summary -p cardbroker
"$bin/mypy" --cache-dir "$output/mypy" --no-error-summary tests hatch_build.py \
    examples/first.py examples/session.py examples/follow.py examples/stock.py examples/pairs.py
PYTHONPATH=$output/package exec "$bin/python" -m pytest -q -o cache_dir="$output/pytest" "$@" tests
