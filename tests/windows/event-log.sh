#!/bin/sh
# Checks that a service writes its start, its stop and its warnings to the event log, and no other lines. Wine has
# no event log, but shows each event on the standard error of its first program: run this alone, as in-wine-namespace
# event-log.sh.
set -eu
: "${WINDOWS_PROGRAMS:?event-log.sh: run it by in-wine-namespace}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
pipe="\\\\.\\pipe\\cardbroker\\event-log-$$"
printf "listen.socket = '%s'\nreaders.simulate = 1\n" "$pipe" >"$folder/c.toml"
export WINEDEBUG=-all,+eventlog
daemon() {
    timeout -s KILL 60 "$RUN_IN_WINE" "$WINDOWS_PROGRAMS/cardbrokerd.exe" "$@"
}
control() {
    timeout -s KILL 60 "$RUN_IN_WINE" "$WINDOWS_PROGRAMS/service-control.exe" cardbroker "$1"
}
is_in_state() {
    control query 2>/dev/null | grep -q "^$1"
}
has_event() {
    grep -a 'eventlog:ReportEventW' "$folder/events" | grep -q -F -- "$1"
}
wait_for() { # what, condition with its arguments
    what=$1 tries=0
    shift
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || { echo "event-log: not seen: $what" >&2; exit 1; }
        sleep 0.05
    done
}

config=Z:$(echo "$folder/c.toml" | sed 's,/,\\,g')
# The first program of Wine, which lives until the end: Wine ends all services with the last other program.
"$RUN_IN_WINE" "$WINDOWS_PROGRAMS/cardbrokerd.exe" --simulate 1 --socket "$pipe-other" >"$folder/events" 2>&1 &
other=$!
wait_for 'the other program' grep -q serving "$folder/events"
daemon --config "$config" service install >/dev/null 2>&1
control start >/dev/null
wait_for 'the start' is_in_state RUNNING
# A warning.
echo 'rule = 7' >>"$folder/c.toml"
control paramchange >/dev/null
wait_for 'the warning' has_event 'policy_reload_refused'
control stop >/dev/null
wait_for 'the stop' is_in_state STOPPED
daemon service remove >/dev/null
kill "$other"
wait "$other" 2>/dev/null || true

events=$(grep -a 'eventlog:ReportEventW' "$folder/events" | sed 's/.*ReportEventW //')
printf '%s\n' "$events" | sed 's/^/    /'
for expected in ' serving socket=' ' stopping grace_seconds=' ' stopped'; do
    has_event "$expected" || { echo "event-log: no event has \"$expected\"" >&2; exit 1; }
done
# Informational lines of the start that a console shows.
if printf '%s\n' "$events" | grep -q 'reader state changed'; then
    echo 'event-log: an informational line became an event' >&2
    exit 1
fi
