#!/bin/sh
# Builds, checks and tests the Node client, against CARDBROKERD or the broker in target/debug.
set -eu
cd "$(dirname "$0")/../.."
client/node/build.sh
target=${CARGO_TARGET_DIR:-target}
if [ -z "${CARDBROKERD:-}" ]; then
    CARDBROKERD=$target/debug/cardbrokerd
    [ -x "$CARDBROKERD" ] || cargo build --locked --quiet -p cardbroker-server
fi
CARDBROKERD=$(cd "$(dirname "$CARDBROKERD")" && pwd)/$(basename "$CARDBROKERD")
export CARDBROKERD
CARDBROKER_VECTORS=$PWD/proto/conformance
export CARDBROKER_VECTORS
cd "$target/clients/node"
npm run --silent check
npm run --silent test
