#!/bin/sh
# Builds the programs for the packages: optimised, with the list of their crates inside (cargo-auditable), and without
# the paths of this machine, so that the same sources give the same programs in every folder.
set -eu
cd "$(dirname "$0")/.."

. packaging/tools.sh
cargo_tool cargo-auditable 0.7.7
mkdir -p "${CARGO_TARGET_DIR:-target}"
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
# The last prefix that fits a path counts. cargo separates the flags by the character 037.
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\037%s\037%s' \
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
    "--remap-path-prefix=$(pwd)=/cardbroker" \
    "--remap-path-prefix=$target=/cardbroker/target")
export CARGO_ENCODED_RUSTFLAGS
PATH=$tools/bin:$PATH cargo auditable build --locked --quiet --release -p cardbroker-server -p cardbroker
for program in cardbrokerd cardbroker; do
    if strings "$target/release/$program" | grep -F -e "$(pwd)/" -e "$target/" >&2; then
        echo "package: $program contains paths of this machine" >&2
        exit 1
    fi
done
