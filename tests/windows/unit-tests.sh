#!/bin/sh
# Runs the unit tests that build.sh has built, in Wine, and prints their counts. Run it by in-wine-namespace.
set -eu
failed=0 passed=0 ignored=0 broken=
while read -r folder program; do
    cd "$folder"
    # The longest takes some 20 s. A test that hangs in Wine is a failure.
    output=$(timeout -s KILL 300 "$RUN_IN_WINE" "$program" --test-threads=2 2>&1 </dev/null) ||
        broken="$broken $(basename "$program")"
    counts=$(printf '%s\n' "$output" | tr -d '\r' |
        sed -n 's/^test result: [a-zA-Z]*\. \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p')
    # A program that ends without a result has failed.
    # shellcheck disable=SC2086 # Three numbers.
    set -- ${counts:-0 1 0}
    name=$(basename "$program" | sed 's/-[0-9a-f]*\.exe$//')
    printf '    %-28s %s passed, %s failed, %s ignored\n' "$name" "$1" "$2" "$3"
    [ "$2" -eq 0 ] || printf '%s\n' "$output" | tr -d '\r' | sed -n '/^failures:/,$p' >&2
    passed=$((passed + $1)) failed=$((failed + $2)) ignored=$((ignored + $3))
done <"${target:?run it by in-wine-namespace}/windows-tests"
echo "$passed passed, $failed failed, $ignored skipped"
[ -z "$broken" ] && [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
