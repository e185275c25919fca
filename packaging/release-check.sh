#!/bin/sh
# Checks the files of a release. Each step starts in a new folder and does not need the steps before it.
# Usage: release-check.sh [STEP...]; without a STEP, all of them
#
#   reproducible  two builds, in folders of different length, give the same packages
#   auditable     the packaged programs contain the list of their crates
#   sbom          CycloneDX lists of the crates of both programs
#   crates        all published crates, from `cargo package`: compiled, and one used by another project
#   python        sdist and wheel, each installed, against the packaged daemon
#   node          the tarball of `npm pack`, installed, against the packaged daemon
#   cpp           the installed CMake package, used by another project, against the packaged daemon
#   older         programs of the last release with the packaged daemon, and the reverse
#
# Needs the committed tree and the package of `make deb`. Leaves its files in target/release-files.
set -eu
cd "$(dirname "$0")/.."
. packaging/tools.sh
root=$PWD
commit=$(git rev-parse HEAD)
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$tools" "$target/release-files"
target=$(cd "$target" && pwd)
tools=$target/tools
package=$target/package/cardbroker.deb
files=$target/release-files

fail() {
    echo "release-check: $*" >&2
    exit 1
}

[ -z "$(git status --porcelain)" ] || fail "the working tree has changes: commit them first"

# The committed tree, in a folder of its own.
tree() { # folder
    mkdir -p "$1"
    git archive "$commit" | tar -xf - -C "$1"
}

# Starts the packaged daemon for the programs of this step, and sets CARDBROKER_ENDPOINT.
packaged_daemon() {
    [ -e "$package" ] || fail "there is no $package: run \`make deb\` first"
    [ -e "$work/package" ] || dpkg-deb --extract "$package" "$work/package"
    start "$work/package/usr/bin"
}

start() { # folder of the programs
    stop
    [ -d "$work/run" ] || mkdir -m 700 "$work/run"
    "$1/cardbrokerd" --config /dev/null --simulate 1 --socket "$work/run/cardbroker.sock" 2>>"$work/daemon.log" &
    broker=$!
    export CARDBROKER_ENDPOINT="unix:$work/run/cardbroker.sock"
    "$1/cardbroker" readers >/dev/null || { cat "$work/daemon.log" >&2; fail "the daemon does not serve"; }
}

stop() {
    [ -z "$broker" ] || { kill "$broker" 2>/dev/null && wait "$broker"; } || true
    broker=
}

# Runs a program in an empty folder, and demands that its output shows a success.
reads() { # program, arguments
    mkdir -p "$work/elsewhere"
    (cd "$work/elsewhere" && "$@") >"$work/read" || { cat "$work/read"; fail "$* has failed"; }
    cat "$work/read"
    grep -q '9000\|[Rr]ecord\|^0 of 3 pairs broken' "$work/read" || fail "$* has read nothing"
}

reproducible() {
    for name in a another-folder-with-a-longer-name; do
        tree "$work/$name"
        mkdir "$work/$name/target"
        ln -s "$tools" "$work/$name/target/tools"
        (cd "$work/$name" && unset CARGO_TARGET_DIR && make --no-print-directory deb rpm >"$work/log" 2>&1) ||
            { cat "$work/log" >&2; fail "make deb rpm"; }
        mkdir "$work/$name.packages"
        mv "$work/$name"/target/package/cardbroker.* "$work/$name.packages"
        # A build needs a few gigabytes.
        rm -rf "${work:?}/$name"
    done
    (cd "$work/a.packages" && sha256sum cardbroker.*) | tee "$work/sums"
    (cd "$work/another-folder-with-a-longer-name.packages" && sha256sum --check --quiet "$work/sums") ||
        fail "the packages depend on the folder in which they are built"
    cp "$work"/a.packages/* "$work/sums" "$files"
    mv "$files/sums" "$files/SHA256SUMS"
}

auditable() {
    [ -e "$package" ] || fail "there is no $package: run \`make deb\` first"
    dpkg-deb --extract "$package" "$work/package"
    for program in cardbrokerd cardbroker; do
        objcopy --dump-section ".dep-v0=$work/list" "$work/package/usr/bin/$program" "$work/copy"
        python3 -c 'import json, sys, zlib
crates = {crate["name"] for crate in json.loads(zlib.decompress(open(sys.argv[1], "rb").read()))["packages"]}
assert {"clap", "tokio", "tonic"} <= crates, crates
print(sys.argv[2] + ":", len(crates), "crates")' "$work/list" $program
    done
}

sbom() {
    cargo_tool cargo-cyclonedx 0.5.9
    tree "$work/sbom"
    (cd "$work/sbom" && "$tools/bin/cargo-cyclonedx" cyclonedx --quiet --format json --target x86_64-unknown-linux-gnu)
    for crate in server/cardbroker-server client/cli/cardbroker; do
        cp "$work/sbom/$crate.cdx.json" "$files"
        python3 -c 'import json, sys
bom = json.load(open(sys.argv[1]))
names = {component["name"] for component in bom["components"]}
assert bom["bomFormat"] == "CycloneDX" and {"clap", "tokio", "tonic"} <= names, names
print(bom["metadata"]["component"]["name"] + ":", len(names), "components")' "$files/${crate##*/}.cdx.json"
    done
}

crates() {
    tree "$work/crates"
    (cd "$work/crates" && cargo package --locked --quiet --workspace --exclude cardbroker-packaging \
        --exclude cardbroker-tests --exclude cardbroker-conformance --exclude cardbroker-fuzz \
        --target-dir "$work/target")
    cp "$work"/target/package/*.crate "$files"
    (cd "$work/target/package" && ls -- *.crate)
    # Another project with the client out of these crates.
    packaged_daemon
    mkdir -p "$work/user/src" "$work/user/crates"
    cp client/rust/examples/pairs.rs "$work/user/src/main.rs"
    patches=
    for crate in "$work"/target/package/*.crate; do
        tar -xf "$crate" -C "$work/user/crates"
        name=$(basename "$crate" .crate)
        patches="$patches${name%-[0-9]*} = { path = \"crates/$name\" }
"
    done
    cat >"$work/user/Cargo.toml" <<END
[package]
name = "user"
edition = "2024"
[dependencies]
cardbroker-client = "*"
clap = { version = "4", features = ["derive"] }
tokio = { version = "1", features = ["macros", "rt"] }
[patch.crates-io]
$patches
[workspace]
END
    cp Cargo.lock "$work/user/"
    (cd "$work/user" && cargo build --quiet --target-dir "$work/target")
    reads "$work/target/debug/user" readers/simulated-reader-00 3 --as-unit
}

python() {
    packaged_daemon
    tree "$work/python"
    python3 -m venv "$work/build"
    "$work/build/bin/pip" install --quiet --disable-pip-version-check build==1.3.0 twine==6.2.0
    "$work/build/bin/python" -m build --outdir "$work/dist" "$work/python/client/python" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; fail "python -m build"; }
    "$work/build/bin/twine" check --strict "$work"/dist/*
    for kind in whl tar.gz; do
        rm -rf "$work/venv"
        python3 -m venv "$work/venv"
        "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$work"/dist/*."$kind"
        reads "$work/venv/bin/python" "$root/client/python/examples/first.py"
    done
    cp "$work"/dist/* "$files"
}

node() {
    packaged_daemon
    tree "$work/node"
    # The Node client builds itself (prepare) with the tools of its development.
    (cd "$work/node/client/node" && npm ci --silent --ignore-scripts --no-audit --no-fund &&
        npm pack --silent --pack-destination "$work")
    mkdir "$work/app"
    cp client/node/examples/read.mjs "$work/app"
    (cd "$work/app" && npm init --yes >/dev/null && npm install --silent --no-audit --no-fund "$work"/cardbroker-*.tgz)
    reads env node "$work/app/read.mjs"
    cp "$work"/cardbroker-*.tgz "$files"
}

cpp() {
    packaged_daemon
    tree "$work/cpp"
    {
        cmake -S "$work/cpp/client/cpp" -B "$work/cpp/build" -DCMAKE_BUILD_TYPE=Release -DCARDBROKER_EXAMPLES=OFF &&
            cmake --build "$work/cpp/build" --parallel 2 &&
            cmake --install "$work/cpp/build" --prefix "$work/prefix" &&
            rm -rf "$work/cpp/build" && cp -R client/cpp/tests/consumer "$work/consumer" &&
            cp client/cpp/examples/first.cpp "$work/consumer/main.cpp" &&
            cmake -S "$work/consumer" -B "$work/consumer/build" -DCMAKE_PREFIX_PATH="$work/prefix" &&
            cmake --build "$work/consumer/build"
    } >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "the C++ client"; }
    reads "$work/consumer/build/consumer"
}

older() {
    # Not this commit's own tag, and no candidate.
    last=$(git tag --list 'v*' --no-contains "$commit" --sort=-version:refname | grep -v -- - | head -n 1 || true)
    [ -n "$last" ] || { echo "nothing is released yet: there is no older program to try" && return; }
    echo "the last release is $last"
    git archive --prefix=older/ "$last" | tar -xf - -C "$work"
    (cd "$work/older" && cargo build --locked --quiet --target-dir "$work/older-target" -p cardbroker-server \
        -p cardbroker)
    for version in older this; do
        python3 -m venv "$work/venv-$version"
    done
    "$work/venv-older/bin/pip" install --quiet --disable-pip-version-check "$work/older/client/python"
    "$work/venv-this/bin/pip" install --quiet --disable-pip-version-check "$root/client/python"
    packaged_daemon
    set -- reader 00A4040006F0434152440100 00B2010410
    reads "$work/older-target/debug/cardbroker" transmit "$@"
    reads "$work/venv-older/bin/python" "$work/older/client/python/examples/first.py"
    start "$work/older-target/debug"
    reads "$work/package/usr/bin/cardbroker" transmit "$@"
    reads "$work/venv-this/bin/python" "$root/client/python/examples/first.py"
}

# One step, in a process of its own: what it started and made is gone afterwards, however it ends.
step() { # name
    work=$(mktemp -d)
    broker=
    trap 'stop; rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    "$1"
}

if [ $# -eq 0 ]; then
    set -- reproducible auditable sbom crates python node cpp older
    # No files of an earlier version.
    rm -rf "${files:?}"
    mkdir "$files"
fi
failed=
for name in "$@"; do
    case $name in
    reproducible | auditable | sbom | crates | python | node | cpp | older) ;;
    *) fail "there is no step $name" ;;
    esac
done
for name in "$@"; do
    printf '\n==> release-check: %s\n' "$name"
    begin=$(date +%s)
    # Not in an `if`, which would turn off `set -e` in the step.
    set +e
    (
        set -e
        step "$name"
    )
    code=$?
    set -e
    printf '    %s s\n' $(($(date +%s) - begin))
    [ $code -eq 0 ] || failed="$failed $name"
done
[ -z "$failed" ] || fail "failed:$failed"
