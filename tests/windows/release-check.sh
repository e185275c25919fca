#!/bin/sh
# What `make release-check` checks of other systems: the release build for Windows and its imports, and that the
# programs compile for macOS. Exits with 77, and says so, if Debian's compiler has moved and fails.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$here/build.sh" release
"$here/imports.sh" release
"$here/check-macos.sh" || exec "$here/compiler-moved.sh"
