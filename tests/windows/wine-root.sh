#!/bin/sh
# Makes a folder with Wine 10 of Debian 13, as far as console programs with PC/SC need it, and prints the folder.
# 800 MB; one to two minutes, and no time while Debian's Wine stays the same. Nothing in it is configured.
# Needs root.
set -eu
. "$(dirname "$0")/cache.sh"

# FreeType must not be among them: with it, the first start of Wine opens windows without end here.
packages="base-files dash coreutils util-linux sed grep
    libc6 libgcc-s1 libstdc++6 libacl1 libattr1 libselinux1 libpcre2-8-0 libgmp10 libssl3t64 zlib1g libzstd1 liblzma5
    libatomic1 libcap2 libsystemd0 libudev1 libmount1 libblkid1
    wine64 libwine libunwind8 libz-mingw-w64 libpcsclite1"

# apt for another release than this machine's, with lists of its own.
apt_for_trixie() {
    apt-get -q -o Dir::Etc::SourceList="$meta/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State="$meta" \
        -o Dir::State::Lists="$meta/lists" -o Dir::State::Status="$meta/status" -o Dir::Cache="$meta" \
        -o Dir::Cache::Archives="$meta/archives" -o Acquire::Languages=none -o APT::Sandbox::User=root "$@"
}

make_root() {
    root=$1
    meta=$1.apt
    rm -rf "$meta"
    mkdir -p "$meta/lists/partial" "$meta/archives/partial"
    : >"$meta/status"
    # The archive that this machine uses already.
    archive=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
        sed -n 's/ bookworm$//p' | grep -m 1 debian) || archive=http://deb.debian.org/debian
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive trixie main" >"$meta/sources.list"
    apt_for_trixie update
    # shellcheck disable=SC2086 # A list of names.
    (cd "$meta/archives" && apt_for_trixie download $packages)
    for folder in bin sbin lib lib64; do
        mkdir -p "$root/usr/$folder"
        ln -sfn "usr/$folder" "$root/$folder"
    done
    mkdir -p "$root/proc" "$root/dev" "$root/sys" "$root/tmp" "$root/run" "$root/etc" "$root/root"
    for package in "$meta"/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink
    done
    ln -sfn dash "$root/usr/bin/sh"
    # What the package does when it is configured: this mark at byte 64 makes mingw's zlib a DLL of Wine's own.
    zlib=$root/usr/x86_64-w64-mingw32/lib/zlib1.dll
    {
        head -c 64 "$zlib"
        printf 'Wine builtin DLL'
        head -c 16 /dev/zero
        tail -c +97 "$zlib"
    } >"$root/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/zlib1.dll"
    rm -rf "$meta"
}
once wine "10-$(cksum <"$0" | cut -d' ' -f1)"
