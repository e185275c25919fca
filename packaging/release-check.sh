#!/bin/sh
# Checks the files of a release, each from a clean place and against the packaged daemon.
# Usage: release-check.sh [STEP...]
# Steps: reproducible sbom auditable crates daemon python node cpp older (all of them, in this order)
set -eu
cd "$(dirname "$0")/.."
. packaging/tools.sh
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
root=$PWD
work=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill "$broker"; rm -rf "$work"' EXIT

fail() {
    echo "release-check: $*" >&2
    exit 1
}

# The committed tree in a folder of its own.
tree() { # folder
    mkdir -p "$1"
    git archive HEAD | tar -xf - -C "$1"
}

reproducible() { # the same sources in two folders give the same programs
    for name in a another-folder-with-a-longer-name; do
        tree "$work/$name"
        (cd "$work/$name" && CARGO_TARGET_DIR=$work/$name/target && export CARGO_TARGET_DIR &&
            ln -s "$tools" "$(mkdir -p target && cd target && pwd)/tools" && packaging/programs.sh)
        (cd "$work/$name/target/release" && sha256sum cardbrokerd cardbroker) >"$work/$name.sums"
        rm -rf "$work/$name"
    done
    cmp "$work/a.sums" "$work/another-folder-with-a-longer-name.sums" || fail "the programs depend on their folder"
    cat "$work/a.sums"
}

sbom() { # the components of both programs, in CycloneDX
    cargo_tool cargo-cyclonedx 0.5.9
    tree "$work/sbom"
    (cd "$work/sbom" && "$tools/bin/cargo-cyclonedx" cyclonedx --quiet --format json --target x86_64-unknown-linux-gnu)
    for crate in server/cardbroker-server client/cli/cardbroker; do
        cp "$work/sbom/$crate.cdx.json" target/package/
        python3 -c 'import json, sys
bom = json.load(open(sys.argv[1]))
names = {component["name"] for component in bom["components"]}
assert bom["bomFormat"] == "CycloneDX" and {"clap", "tokio", "tonic"} <= names, names
print(sys.argv[1], len(names), "components")' "target/package/${crate##*/}.cdx.json"
    done
}

auditable() { # the packaged programs list their crates
    for program in target/package/bin/*; do
        objdump --section-headers "$program" | grep -q '\.dep-v0' || fail "$program has no list of its crates"
    done
}

crates() { # the crates as crates.io would get them, compiled
    cargo package --locked --quiet --allow-dirty --workspace --exclude cardbroker-packaging --exclude cardbroker-tests \
        --exclude cardbroker-conformance --exclude cardbroker-fuzz
    ls target/package/*.crate
}

daemon() { # the daemon out of the package, for the next steps
    dpkg-deb --extract target/package/cardbroker.deb "$work/package"
    "$work/package/usr/bin/cardbrokerd" --config /dev/null --simulate 1 --socket "$work/run/cardbroker.sock" \
        2>"$work/daemon.log" &
    broker=$!
    CARDBROKER_ENDPOINT=unix:$work/run/cardbroker.sock
    export CARDBROKER_ENDPOINT
    "$work/package/usr/bin/cardbroker" readers
}

python() { # sdist and wheel
    tree "$work/python"
    python3 -m venv "$work/build"
    "$work/build/bin/pip" install --quiet --disable-pip-version-check build==1.3.0 twine==6.2.0
    "$work/build/bin/python" -m build --outdir "$work/dist" "$work/python/client/python" >"$work/build.log" 2>&1 ||
        { cat "$work/build.log"; fail "python -m build"; }
    "$work/build/bin/twine" check --strict "$work"/dist/*
    for kind in whl tar.gz; do
        rm -rf "$work/venv"
        python3 -m venv "$work/venv"
        "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$work"/dist/*."$kind"
        (cd / && "$work/venv/bin/python" "$root/client/python/examples/first.py")
    done
}

node() { # the package as npm would publish it
    tree "$work/node"
    (cd "$work/node/client/node" && npm pack --silent --pack-destination "$work")
    mkdir -p "$work/app"
    cp client/node/examples/read.mjs "$work/app/"
    (cd "$work/app" && npm init --yes >/dev/null &&
        npm install --silent --no-audit --no-fund "$work"/cardbroker-*.tgz && command node read.mjs)
}

cpp() { # the installed library, found by another project
    tree "$work/cpp"
    cmake -S "$work/cpp/client/cpp" -B "$work/cpp/build" -DCMAKE_BUILD_TYPE=Release -DCARDBROKER_EXAMPLES=OFF \
        >"$work/cmake.log"
    cmake --build "$work/cpp/build" --parallel 2 >>"$work/cmake.log"
    cmake --install "$work/cpp/build" --prefix "$work/prefix" >>"$work/cmake.log"
    cp -r client/cpp/tests/consumer "$work/consumer"
    cp client/cpp/examples/first.cpp "$work/consumer/main.cpp"
    cmake -S "$work/consumer" -B "$work/consumer/build" -DCMAKE_PREFIX_PATH="$work/prefix" >>"$work/cmake.log"
    cmake --build "$work/consumer/build" >>"$work/cmake.log"
    "$work/consumer/build/consumer"
}

older() { # the command line and the Python client of the last release with this daemon, and the reverse
    last=$(git tag --list 'v*' --sort=-version:refname | head -n 1)
    if [ -z "$last" ]; then
        echo "nothing is released yet: there is no older program to try"
        return
    fi
    git worktree add --quiet --detach "$work/older" "$last"
    (cd "$work/older" && CARGO_TARGET_DIR="$work/older/target" cargo build --locked --quiet --release \
        -p cardbroker-server -p cardbroker)
    "$work/older/target/release/cardbroker" transmit reader 00A4040006F0434152440100 00B2010410
    python3 -m venv "$work/older-venv"
    "$work/older-venv/bin/pip" install --quiet --disable-pip-version-check "$work/older/client/python"
    (cd / && "$work/older-venv/bin/python" "$root/client/python/examples/first.py")
    kill "$broker"
    "$work/older/target/release/cardbrokerd" --config /dev/null --simulate 1 --socket "$work/run/older.sock" \
        2>"$work/older.log" &
    broker=$!
    CARDBROKER_ENDPOINT=unix:$work/run/older.sock
    "$work/package/usr/bin/cardbroker" transmit reader 00A4040006F0434152440100 00B2010410
    (cd / && "$work/venv/bin/python" "$root/client/python/examples/first.py")
    git worktree remove --force "$work/older"
}

[ $# -gt 0 ] || set -- reproducible sbom auditable crates daemon python node cpp older
for step in "$@"; do
    printf -- '-- %s\n' "$step"
    "$step"
done
