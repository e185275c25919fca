#!/bin/sh
# Makes target/package/cardbroker.rpm of what build.sh has left. Untested on Fedora.
set -eu
cd "$(dirname "$0")/.."

tools=$(cd "${CARGO_TARGET_DIR:-target}/tools/packagers/bin" && pwd)
cd target/package
"$tools/cargo-generate-rpm" --output cardbroker.rpm
