#!/bin/sh
# Checks that everything that a user of macOS could build compiles for it, with the compiler that also builds for
# Windows. Nothing can be linked or run: there is no SDK.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cache.sh"
claim_target
# Crates with C code only have to think that it was compiled: a check reads no object.
exec "$here/in-compiler" env CC_aarch64_apple_darwin=true AR_aarch64_apple_darwin=true \
    cargo check --locked --quiet -Zbuild-std=std,panic_abort --target "$macos" \
    -p cardbroker-server -p cardbroker -p cardbroker-client -p cardbroker-c
