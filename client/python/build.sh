#!/bin/sh
# Builds the client, its tools and its example programs below target/clients/python of the repository.
# Exit code 77 (1 in CI): a tool is missing on this machine; a line on stderr names it.
set -eu
cd "$(dirname "$0")"

root=$(cd ../.. && pwd)
# A relative CARGO_TARGET_DIR is relative to the repository's root.
output=$(cd "$root" && mkdir -p "${CARGO_TARGET_DIR:-target}/clients/python" &&
    cd "${CARGO_TARGET_DIR:-target}/clients/python" && pwd)
venv=$output/venv

skip() {
    echo "skipped: $1" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 77
}

command -v python3 >/dev/null || skip "install Python 3.10 or newer (Debian: python3 python3-venv python3-dev)"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    skip "install Python 3.10 or newer; this is $(python3 --version)"
python3 -c 'import ensurepip, venv' 2>/dev/null || skip "install Python's venv module (Debian: python3-venv)"
# pyscard compiles a C extension.
python3 -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
    skip "install Python's headers (Debian: python3-dev)"
if ! command -v cc >/dev/null ||
    ! { pkg-config --exists libpcsclite || test -e /usr/include/PCSC/winscard.h; } 2>/dev/null; then
    skip "install a C compiler and the headers of PC/SC (Debian: gcc libpcsclite-dev)"
fi

# Two builds may run at once, and programs of an earlier one: files are made beside their place and then moved there.
# Succeeds if the files have changed since the stamp was made.
stale() { # stamp, files
    stamp=$output/$1
    shift
    cat "$@" | cksum >"$output/cksum.$$"
    ! cmp -s "$output/cksum.$$" "$stamp"
}
done_with() { # stamp
    mv "$output/cksum.$$" "$output/$1"
}

if [ ! -x "$venv/bin/python" ] || stale tools.stamp tools.txt; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement tools.txt
    stale tools.stamp tools.txt
    done_with tools.stamp
fi

# shellcheck disable=SC2046 # No name of these files has a space.
set -- $(find src ../../proto/cardbroker -type f -name '*.p*' | LC_ALL=C sort) pyproject.toml hatch_build.py README.md
if stale package.stamp "$@"; then
    rm -rf "$output/package" "$output/bare"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$output/package" .
    # The generated code alone, for the example without the package.
    mkdir -p "$output/bare/cardbroker"
    cp -r "$output/package/cardbroker/v1" "$output/bare/cardbroker/"
    stale package.stamp "$@"
    done_with package.stamp
fi

mkdir -p "$output/bin"
program() { # name, folder with its modules, its source
    cat >"$output/bin/$1.$$" <<END
#!/bin/sh
PYTHONPATH=$output/$2 PYTHONDONTWRITEBYTECODE=1 exec $venv/bin/python $PWD/$3 "\$@"
END
    chmod +x "$output/bin/$1.$$"
    mv "$output/bin/$1.$$" "$output/bin/$1"
}
program first package examples/first.py
program session package examples/session.py
program follow package examples/follow.py
program stock package examples/stock.py
program pairs package examples/pairs.py
program bare bare examples/bare.py
# The driver for the conformance kit; with --aio through the client for asyncio.
program driver package tests/driver.py
rm -f "$output/cksum.$$"
