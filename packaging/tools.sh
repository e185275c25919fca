#!/bin/sh
# Installs cargo's tools in pinned versions below target/tools, for the scripts beside it. Compiling one takes a minute.
tools=${CARGO_TARGET_DIR:-target}/tools

cargo_tool() { # name, version
    if ! grep -q "\"$1 $2 " "$tools/.crates.toml" 2>/dev/null; then
        echo "package: installing $1 $2 below $tools" >&2
        # Not optimised: it compiles faster, and there is little to do.
        cargo install --quiet --locked --debug --root "$tools" "$1@$2"
    fi
}
