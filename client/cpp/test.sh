#!/bin/sh
# Checks the C++ client: format, tests under the address and undefined-behaviour sanitizers, use by other projects.
set -eu
cd "$(dirname "$0")"
sources=$(pwd)
./build.sh
cd ../..
root=$(pwd)
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
out=$target/clients/cpp
clang_format_version=18.1.8

skip() { # package to install
    echo "skipped: the tests of the C++ client need $1" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 77
}
python3 -c 'import ensurepip' 2>/dev/null || skip python3-venv
[ -e /usr/include/doctest/doctest.h ] || skip doctest-dev

export CARDBROKERD="${CARDBROKERD:-$target/debug/cardbrokerd}"
[ -x "$CARDBROKERD" ] || cargo build --locked -p cardbroker-server

step() {
    printf -- '-- %s\n' "$1"
}
# Runs a command and shows its output only if it fails.
quietly() { # name of the log, command
    log=$out/$1.log
    shift
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        exit 1
    }
}

step "clang-format $clang_format_version"
tools=$out/tools-$clang_format_version
if [ ! -x "$tools/bin/clang-format" ]; then
    python3 -m venv "$tools"
    quietly tools "$tools/bin/pip" install --quiet --disable-pip-version-check "clang-format==$clang_format_version"
fi
find "$sources" \( -name '*.h' -o -name '*.cpp' \) -exec "$tools/bin/clang-format" --dry-run --Werror {} +

step "tests, with sanitizers"
[ -e "$out/sanitized/Makefile" ] ||
    quietly configure-sanitized cmake -S "$sources" -B "$out/sanitized" -G 'Unix Makefiles' -DCMAKE_BUILD_TYPE=Debug \
        -DCARDBROKER_STRICT=ON -DCARDBROKER_SANITIZE=ON -DCARDBROKER_TESTS=ON -DCARDBROKER_EXAMPLES=OFF
quietly build-sanitized cmake --build "$out/sanitized" --parallel 2
# Runs the example programs as users build them, without sanitizers.
CARDBROKER_EXAMPLES=$out/bin "$out/sanitized/tests/cardbroker_tests"

# Two ways to use the client in another project: installed, and as a part of that project, here with gRPC by pkg-config.
step "find_package"
quietly install cmake --install "$out/build" --prefix "$out/installed"
[ -e "$out/by-package/Makefile" ] ||
    quietly configure-by-package cmake -S "$sources/tests/consumer" -B "$out/by-package" -G 'Unix Makefiles' \
        -DCMAKE_PREFIX_PATH="$out/installed"
quietly build-by-package cmake --build "$out/by-package"
"$out/by-package/consumer"

step "FetchContent, and gRPC by pkg-config"
[ -e "$out/by-source/Makefile" ] ||
    quietly configure-by-source cmake -S "$sources/tests/consumer" -B "$out/by-source" -G 'Unix Makefiles' \
        -DCARDBROKER_SOURCE="$root" -DCMAKE_DISABLE_FIND_PACKAGE_gRPC=ON
quietly build-by-source cmake --build "$out/by-source" --parallel 2
"$out/by-source/consumer"
