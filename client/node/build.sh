#!/bin/sh
# Builds the Node client, its example programs and its driver for the conformance kit below target/clients/node, unless
# nothing has changed.
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}/clients/node
sources=client/node

skip() {
    if [ -n "${CI:-}" ]; then
        echo "client/node: $*" >&2
        exit 1
    fi
    echo "skipped: $*" >&2
    exit 77
}
supported='
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 18 || (major == 18 && minor >= 18) ? 0 : 1);
'
command -v node >/dev/null || skip "the Node client needs node: install Node.js 18.18 or newer"
command -v npm >/dev/null || skip "the Node client needs npm: install npm"
node -e "$supported" || skip "the Node client needs Node.js 18.18 or newer: install it in place of $(node --version)"

mkdir -p "$target"
target=$(cd "$target" && pwd)
# The sources, without the output of `npm install` in the folder.
files() {
    find $sources proto \( -name node_modules -o -path $sources/dist -o -path $sources/gen \) -prune -o -type f -print
}
# Another version of Node may need other binaries.
state=$({ node --version; files | sort | xargs cksum; } | cksum)
[ "$(cat "$target/stamp" 2>/dev/null)" != "$state" ] || exit 0
rm -f "$target/stamp"

# The package in its published form, and the contract beside it.
(cd "$target" && rm -rf bin dist examples gen proto src test)
files | tar -cf - -T - | tar -xf - -C "$target"
cp -R "$target/$sources/." "$target"
rm -rf "${target:?}/client"
cd "$target"
packages=$({ node --version; cksum package.json package-lock.json; } | cksum)
if [ "$(cat node_modules/stamp 2>/dev/null)" != "$packages" ]; then
    # Runs no scripts of packages: none of them needs one.
    npm ci --silent --ignore-scripts --no-audit --no-fund || skip "npm cannot install the packages of the Node client"
    echo "$packages" >node_modules/stamp
fi
npm run --silent build

mkdir -p bin
program() { # name, script
    printf '#!/bin/sh\nexec node "%s" "$@"\n' "$target/$2" >"bin/$1"
    chmod 755 "bin/$1"
}
for example in read session follow events pairs bare; do
    program $example examples/$example.mjs
done
# The driver for the conformance kit.
program driver dist/test/driver.js
echo "$state" >stamp
