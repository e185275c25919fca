#!/bin/sh
# Builds the programs for the packages: optimised, and with the list of their crates inside (cargo-auditable).
set -eu
cd "$(dirname "$0")/.."

. packaging/tools.sh
cargo_tool cargo-auditable 0.7.7
PATH=$tools/bin:$PATH cargo auditable build --locked --quiet --release -p cardbroker-server -p cardbroker
