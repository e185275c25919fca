#!/bin/sh
# Makes the Node client and its example programs ready to run, below target/clients/node. Does nothing if nothing has changed.
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
supported='const [major, minor] = process.versions.node.split("."); process.exit(major > 18 || (major == 18 && minor >= 18) ? 0 : 1)'
command -v node >/dev/null || skip "the Node client needs node: install Node.js 18.18 or newer"
command -v npm >/dev/null || skip "the Node client needs npm: install npm"
node -e "$supported" || skip "the Node client needs Node.js 18.18 or newer, this is $(node --version): install a newer one"

mkdir -p "$target"
target=$(cd "$target" && pwd)
# Another Node may need other binaries.
state=$({ node --version; find $sources proto -type f | sort | xargs cksum; } | cksum)
[ "$(cat "$target/stamp" 2>/dev/null)" != "$state" ] || exit 0
rm -f "$target/stamp"

# The package as it would be published, and the contract beside it.
(cd "$target" && rm -rf bin dist examples gen proto src test)
cp -R $sources/. proto "$target"
cd "$target"
packages=$({ node --version; cksum package.json package-lock.json; } | cksum)
if [ "$(cat node_modules/stamp 2>/dev/null)" != "$packages" ]; then
    # No package's own scripts: everything that is needed is in the packages.
    npm ci --silent --ignore-scripts --no-audit --no-fund || skip "npm cannot install the packages of the Node client"
    echo "$packages" >node_modules/stamp
fi
npm run --silent build

mkdir -p bin
for program in read pairs bare; do
    printf '#!/bin/sh\nexec node "%s" "$@"\n' "$target/examples/$program.mjs" >bin/$program
    chmod 755 bin/$program
done
echo "$state" >stamp
