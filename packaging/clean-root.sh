#!/bin/sh
# Makes a Debian system without Cardbroker that can boot, with what its clients need. Usage: clean-root.sh FOLDER
set -eu

# The package's own dependencies, virtual readers, and the libraries of the Python and C++ clients.
packages=acl,systemd,systemd-sysv,dbus,polkitd,pcscd,vsmartcard-vpcd,python3,libgrpc++1.51,libprotobuf32
rm -rf "$1" "$1.part"
mmdebstrap --quiet --variant=minbase --include=$packages bookworm "$1.part"
mv "$1.part" "$1"
