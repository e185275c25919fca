#!/bin/sh
# Sourced by the scripts beside it: where the roots of the Windows build lie, and how one is made once.

# Outside the clone, so that a fresh clone finds them.
cache=${CARDBROKER_WINDOWS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cardbroker-windows}
# Build output, shared by all clones: what they have in common is compiled once.
target=${CARDBROKER_WINDOWS_TARGET:-$cache/target}
clone=$(cd "$(dirname "$0")/../.." && pwd)
# Its programs run on Windows 7 and later.
triple=x86_64-win7-windows-gnu
macos=aarch64-apple-darwin

# Removes what another clone has compiled of this repository, if it was the last to build in the target folder: cargo
# compares the times of files, not their paths, and takes this clone's sources for compiled if they are older than that.
# Crates of others are kept.
claim_target() {
    [ "$(cat "$target/clone" 2>/dev/null)" != "$clone" ] || return 0
    for each in dev release; do
        "$clone/tests/windows/in-compiler" cargo clean --locked --quiet --workspace --target "$triple" \
            --target "$macos" --profile "$each" || return
    done
    echo "$clone" >"$target/clone"
}

# Prints a word for the newest version of a package that apt knows here, or `unknown`.
candidate() { # package
    version=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p')
    echo "${version:-unknown}" | tr -c "A-Za-z0-9.\n" _
}

# Makes the folder $cache/NAME-KEY with `make_root FOLDER`, once for all programs that ask at the same time, and prints
# it. Removes folders of the same name that nobody has used for a week: another clone may use an older one now.
once() { # name, key
    [ "$(id -u)" -eq 0 ] || { echo "$1: only root can make a root folder" >&2; exit 1; }
    mkdir -p "$cache"
    root=$cache/$1-$2
    exec 9>"$cache/$1.lock"
    flock 9
    if [ ! -e "$root.done" ]; then
        find "$cache" -maxdepth 1 -name "$1-*.done" -mtime +7 | sed 's/\.done$//' | while read -r old; do
            rm -rf "$old" "$old.prefix" "$old.done"
        done
        rm -rf "$root" "$root.prefix"
        # A subshell that is no condition: there `set -e` holds, and a failed step leaves no finished root.
        (make_root "$root") >&2
    fi
    touch "$root.done"
    # Programs that are started later must not hold the lock.
    exec 9>&-
    echo "$root"
}
