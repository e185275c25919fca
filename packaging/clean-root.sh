#!/bin/sh
# Makes a Debian 12 system without Cardbroker that can boot, for the stories about packages. Prints its folder, below
# target/tools. Takes a minute, and no time if nothing has changed. Needs root, and Debian 12 for the C++ client.
set -eu
cd "$(dirname "$0")/.."

# The package's dependencies; virtual readers; what the clients need; rpm for the RPM package.
packages=acl,systemd,systemd-sysv,dbus,polkitd,pcscd,vsmartcard-vpcd
packages=$packages,python3,nodejs,libgrpc++1.51,libprotobuf32,rpm

tools=${CARGO_TARGET_DIR:-target}/tools
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
root=$tools/clean-root
if [ "$(id -u)" -ne 0 ]; then
    echo "clean-root: only root can make a clean system; its stories are skipped" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
fi
# Two tests may come here at once.
exec 9>"$tools/clean-root.lock"
flock 9
state=$(cat packaging/clean-root.sh client/python/tools.txt | cksum)
if [ "$(cat "$root.stamp" 2>/dev/null)" != "$state" ]; then
    rm -rf "$root" "$root.stamp"
    mmdebstrap --quiet --variant=minbase --include=$packages bookworm "$root" >&2
    # The Python client's dependencies, for the system's Python: this machine may have another version.
    version=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ -x "$tools/packagers/bin/pip" ] || .ci/setup package >&2
    # shellcheck disable=SC2046 # Each line of sed is a requirement without spaces.
    "$tools/packagers/bin/pip" install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile \
        --only-binary=:all: --python-version "$version" --target "$root/usr/local/lib/python$version/dist-packages" \
        $(sed -n '/^grpcio==/p; /^protobuf==/p; /^googleapis-common-protos==/p' client/python/tools.txt)
    echo "$state" >"$root.stamp"
fi
echo "$root"
