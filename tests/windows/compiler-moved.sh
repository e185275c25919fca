#!/bin/sh
# Judges a failed build: exits with 77, and says so, if Debian's compiler is not the known one, else with 1.
# Then Debian has moved, not this repository. If NOT_CHECKED is set, a file of this name gets the line as well.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

# The compiler that has built the programs last. std is built as well, by a way that is not stable.
known='rustc 1.96.0'

compiler=$("$here/in-compiler" rustc --version)
case $compiler in
"$known"*) exit 1 ;;
*)
    echo "windows: NOT CHECKED: Debian's compiler is now $compiler and fails; the known one is $known" |
        tee -a "${NOT_CHECKED:-/dev/null}" >&2
    exit 77
    ;;
esac
