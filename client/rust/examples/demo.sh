#!/bin/sh
# Two programs on one card: first command by command, then as units. Usage: demo.sh FOLDER-OF-THE-PROGRAMS
set -eu

programs=$1
pairs=1000
reader=readers/simulated-reader-00

folder=$(mktemp -d)
broker=
finish() {
    [ -z "$broker" ] || { kill "$broker" && wait "$broker"; } 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
    echo "demo: $*" >&2
    echo "the broker says:" >&2
    cat "$folder/log" >&2
    exit 1
}

# --config /dev/null: the demo is the same whatever this machine's configuration says.
"$programs/cardbrokerd" --config /dev/null --simulate 1 --socket "$folder/cardbroker.sock" 2>"$folder/log" &
broker=$!
export CARDBROKER_ENDPOINT="unix:$folder/cardbroker.sock"

tries=0
until "$programs/cardbroker" readers 2>/dev/null | grep -q READY; do
    tries=$((tries + 1))
    { [ "$tries" -lt 100 ] && kill -0 "$broker" 2>/dev/null; } || fail "no broker with a card within 10 seconds"
    sleep 0.1
done

# Plays one part with two processes at the same time and sets $broken to the pairs that both lost.
play() {
    timeout 120 "$programs/examples/pairs" "$reader" "$pairs" "$1" >"$folder/a" & a=$!
    timeout 120 "$programs/examples/pairs" "$reader" "$pairs" "$1" >"$folder/b" & b=$!
    { wait "$a" && wait "$b"; } || fail "a client failed"
    echo "   program A: $(cat "$folder/a")"
    echo "   program B: $(cat "$folder/b")"
    read -r lost_a _ <"$folder/a"
    read -r lost_b _ <"$folder/b"
    broken=$((lost_a + lost_b))
}

cat <<END
Two programs share one card. Each runs $pairs times SELECT, which the card answers with
61 13, "19 bytes to fetch", and GET RESPONSE, which fetches them. If any other command
comes between the two, the answer is lost: 6D 00.

1. Command by command, each with a turn of its own:
END
play --single
[ "$broken" -gt 0 ] || fail "no pair was broken: the demo shows nothing"

echo
echo "2. Both commands of a pair as one unit:"
play --as-unit
[ "$broken" -eq 0 ] || fail "$broken pairs were broken although they were units"

echo
echo "The same card, the same broker: nothing gets in between the commands of a unit."
