#!/bin/sh
# Fails if a program needs a newer C library (glibc) than VERSION. Usage: newest-glibc.sh VERSION PROGRAM...
set -eu

version=$1
shift
newest=$(objdump -T "$@" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
if [ -z "$newest" ] || [ "$(printf '%s\n' "$newest" "$version" | sort -V | tail -n 1)" != "$version" ]; then
    echo "package: the programs need glibc ${newest:-of an unknown version}; at most $version is allowed" >&2
    exit 1
fi
