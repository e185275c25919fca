#!/bin/sh
# Checks the C interface: exported symbols, tests in C and C++ with a real broker, ctypes, memory errors, installation.
set -eu
cd "$(dirname "$0")"
sources=$(pwd)
./build.sh
cd ../..
target=${CARGO_TARGET_DIR:-target}
target=$(cd "$target" && pwd)
out=$target/clients/c
daemon="${CARDBROKERD:-$target/debug/cardbrokerd}"

clang_format_version=18.1.8

step() {
    printf -- '-- %s\n' "$1"
}

step "clang-format $clang_format_version"
if ! python3 -c 'import ensurepip' 2>/dev/null; then
    echo "skipped: the tests of the C interface need python3-venv" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 77
fi
tools=$out/tools-$clang_format_version
if [ ! -x "$tools/bin/clang-format" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "clang-format==$clang_format_version"
fi
# The other headers are generated.
find "$sources" \( -name '*.c' -o -name '*.cpp' -o -name 'check.h' -o -name '*.hpp' ! -name '*_enums.hpp' \) \
    -exec "$tools/bin/clang-format" --dry-run --Werror {} +

step "exported symbols"
nm -D --defined-only "$out/lib/libcardbroker.so" | sed 's/.* //' | LC_ALL=C sort >"$out/symbols.txt"
if [ -n "${UPDATE_GOLDEN:-}" ]; then cp "$out/symbols.txt" "$sources/symbols.golden.txt"; fi
diff "$sources/symbols.golden.txt" "$out/symbols.txt"
if grep -v '^cardbroker_' "$out/symbols.txt"; then exit 1; fi

folder=$(mktemp -d)
broker=
stop() {
    [ -z "$broker" ] || { kill "$broker" && wait "$broker"; } || true
    broker=
    rm -f "$folder/broker.sock"
}
finish() {
    stop
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' INT TERM

# A broker with two simulated readers, new for each test.
start() {
    stop
    "$daemon" --config /dev/null --simulate 2 --socket "$folder/broker.sock" --log debug >"$folder/log" 2>&1 &
    broker=$!
    # The programs wait for a broker that is not there yet.
}
unset CARDBROKER_GROUP CARDBROKER_TOKEN_FILE
export CARDBROKER_ENDPOINT="unix:$folder/broker.sock"
tested() { # command
    start
    timeout 120 "$@" || { cat "$folder/log" >&2 && exit 1; }
    # The PIN of the simulated card.
    if grep -q 3132333435363738 "$folder/log"; then exit 1; fi
}

step "tests in C and C++"
tested "$out/bin/interface_test"
tested "$out/bin/threads_test"
tested "$out/bin/wiping_test"
tested "$out/bin/face_test"
stop
timeout 120 "$out/bin/restart_test" "$daemon" --config /dev/null --simulate 1 --socket "$folder/broker.sock" \
    >"$folder/log" 2>&1 || { cat "$folder/log" >&2 && exit 1; }

step "examples in C and Python"
tested "$out/bin/first" >"$folder/first"
grep -q ' 9000$' "$folder/first"
tested python3 "$sources/examples/readers.py" "$out/lib/libcardbroker.so" >"$folder/readers"
[ "$(grep -c '^readers/simulated-reader-0[01] 6f11.* 9000$' "$folder/readers")" -eq 2 ]

step "valgrind"
if command -v valgrind >/dev/null; then
    for program in interface_test face_test; do
        tested valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect \
            --show-leak-kinds=definite,indirect \
            "$out/bin/$program"
    done
else
    echo "valgrind is missing: memory errors are not looked for" >&2
    [ -z "${CI:-}" ] || exit 1
fi

step "installed, by pkg-config"
"$sources/install.sh" "$out/lib/libcardbroker.so" "$folder/installed" >/dev/null
export PKG_CONFIG_PATH="$folder/installed/lib/pkgconfig"
# shellcheck disable=SC2046 # pkg-config prints a list of options.
cc -std=c11 "$sources/examples/first.c" -o "$folder/installed/first" $(pkg-config --cflags --libs cardbroker)
LD_LIBRARY_PATH="$folder/installed/lib" tested "$folder/installed/first" >/dev/null
