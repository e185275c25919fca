#!/bin/sh
# Checks that the programs import only functions of a list, imports.txt, which was read against what is known of
# Windows 7. A new function is added there by hand. The library in C must also export what it does on Linux.
# Usage: imports.sh PROFILE
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/cache.sh"
allowed=$here/imports.txt
failed=0
programs='cardbrokerd.exe cardbroker.exe cardbroker.dll'
for program in $programs; do
    file=$target/$triple/$1/$program
    # `DLL Name: KERNEL32.dll`, then lines with an address, a hint and a name.
    found=$("$here/in-compiler" x86_64-w64-mingw32-objdump -p "$file" | awk '
        /DLL Name:/ { dll = tolower($3); next }
        dll != "" && NF == 0 { dll = "" }
        dll != "" && $1 ~ /^[0-9a-f]+$/ && NF >= 3 { print dll " " $NF }' | sort -u)
    [ -n "$found" ] || { echo "imports: none found in $file" >&2; exit 1; }
    new=$(printf '%s\n' "$found" | awk -v program="$program" '
        FNR == NR { if (NF == 2 || $3 == program) allowed[$1 " " $2]; next }
        !($0 in allowed)' "$allowed" -)
    if [ -n "$new" ]; then
        printf 'imports: %s uses functions that %s does not list for it:\n%s\n' "$program" imports.txt "$new" >&2
        failed=1
    fi
    echo "    $program: $(printf '%s\n' "$found" | wc -l) functions"
done
# Lines with a number in brackets and a name.
"$here/in-compiler" x86_64-w64-mingw32-objdump -p "$target/$triple/$1/cardbroker.dll" |
    sed -n '/Ordinal\/Name Pointer/,$s/^[[:space:]]*\[ *[0-9]*\] //p' | LC_ALL=C sort |
    diff "$clone/client/c/symbols.golden.txt" - || failed=1
exit "$failed"
