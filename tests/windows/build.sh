#!/bin/sh
# Builds the programs and the unit tests for Windows 7 with Debian's compiler, and writes the list of the tests to
# windows-tests below the target folder. Usage: build.sh [PROFILE]; PROFILE is dev or release, which has no tests.
# Exits with 77 if the build fails with another compiler than the known one: then Debian has moved, not this repository.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cache.sh"
profile=${1:-dev}

cargo() { # subcommand and arguments
    command=$1
    shift
    "$here/in-compiler" cargo "$command" --locked --quiet -Zbuild-std=std,panic_abort --target "$triple" \
        --profile "$profile" "$@"
}
compile() { # gcc or g++, options, source and output
    compiler=$1
    shift
    "$here/in-compiler" "x86_64-w64-mingw32-$compiler" -O1 -Wall -Wextra -Wpedantic -Werror -Iclient/c/include "$@" \
        -L"$folder" -l:libcardbroker.dll.a
}
build() {
    if [ "$profile" != dev ]; then
        cargo build --lib --bins -p cardbroker-server -p cardbroker -p cardbroker-c
        return
    fi
    # With the programs of the stories. One command, so that all have the same dependencies.
    cargo build --lib --bins --example pairs -p cardbroker-server -p cardbroker -p cardbroker-client \
        -p cardbroker-windows -p cardbroker-c || return 1
    # Programs in C and C++, with the library beside them.
    folder=$target/$triple/debug
    bridge=tests/windows/programs/pipe_bridge.c
    compile gcc -std=c11 -static "$bridge" -o "$folder/pipe-bridge.exe" -lws2_32 || return 1
    compile gcc -std=c11 client/c/examples/first.c -o "$folder/c-first.exe" || return 1
    compile g++ -std=c++17 -static tests/windows/programs/family.cpp -o "$folder/family.exe" -lwinscard || return 1
    for test in interface threads; do
        compile gcc -std=c11 -static "client/c/tests/${test}_test.c" -o "$folder/c-$test-test.exe" -pthread || return 1
    done
    compile gcc -std=c11 tests/windows/programs/service_control.c -o "$folder/service-control.exe" || return 1
    cargo test --no-run --lib --bins --message-format=json-render-diagnostics -p cardbroker-pipe -p cardbroker-local \
        -p cardbroker-apdu-bytes -p cardbroker-proto -p cardbroker-client -p cardbroker-core -p cardbroker-server \
        -p cardbroker -p cardbroker-c >"$target/windows-tests.json" || return 1
    # The folder of the package, where cargo would start the program, and the program.
    sed -n '/"test":true},"features"/s/.*"manifest_path":"\([^"]*\)\/Cargo.toml".*"executable":"\([^"]*\)".*/\1 \2/p' \
        "$target/windows-tests.json" >"$target/windows-tests"
    # A build without tests would pass all of them.
    [ -s "$target/windows-tests" ]
}

if claim_target && build; then
    exit 0
fi
exec "$here/compiler-moved.sh"
