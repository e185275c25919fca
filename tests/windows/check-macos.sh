#!/bin/sh
# Checks that the client library compiles for macOS, with the compiler that also builds for Windows. The daemon and the
# command line do not yet. Nothing can be linked or run: there is no SDK.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# Crates with C code only have to think that it was compiled: a check reads no object.
exec "$here/in-compiler" env CC_aarch64_apple_darwin=true AR_aarch64_apple_darwin=true \
    cargo check --locked --quiet -Zbuild-std=std,panic_abort --target aarch64-apple-darwin \
    -p cardbroker-client
