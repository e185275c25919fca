#!/bin/sh
# Makes a Debian 12 system with compilers of Rust, C and C++ for Windows 7 and prints its folder; the machine's own
# compilers stay as they are. 1.5 GB; one to three minutes, and no time while Debian's compiler stays the same. Needs
# root and mmdebstrap. Exits with 77 if Debian no longer has one of the packages.
set -eu
. "$(dirname "$0")/cache.sh"

# rustup has neither the source of std nor a std for Windows 7; Debian has the source.
packages=rustc-web,cargo-web,rust-web-src,g++-mingw-w64-x86-64-win32,ca-certificates

make_root() {
    # The archives that this machine uses for the same release: its security archive has the newer compiler.
    sources=$(apt-get indextargets --format 'deb $(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
        sed -n 's/ bookworm\(-security\|-updates\)\? main$/ bookworm\1 main/p' | sort -u)
    # Without such a machine, mmdebstrap's own choice.
    if [ -z "$sources" ]; then
        mmdebstrap --quiet --variant=apt --include="$packages" bookworm "$1"
        return
    fi
    code=0
    printf '%s\n' "$sources" | mmdebstrap --quiet --variant=apt --include="$packages" bookworm "$1" - || code=$?
    [ "$code" -ne 0 ] || return 0
    # Debian has moved, not this repository.
    for package in $(echo "$packages" | tr , ' '); do
        if [ "$(candidate "$package")" = unknown ]; then
            echo "windows: NOT CHECKED: Debian has no package $package any more" |
                tee -a "${NOT_CHECKED:-/dev/null}"
            exit 77
        fi
    done
    return "$code"
}
once compiler "$(candidate rustc-web)-$(cksum <"$0" | cut -d' ' -f1)"
