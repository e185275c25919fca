"""Runs pairs of SELECT and GET RESPONSE on a card and counts the broken pairs.

The answer that SELECT offers (61 xx) is lost (6D 00) if any other command reaches the card before GET RESPONSE.
The time begins with the first turn, so that several programs on one card measure the same period.
"""

import argparse
import json
import signal
import time

import cardbroker

SELECT = bytes.fromhex("00A4040006F0434152440100")
GET_RESPONSE = bytes.fromhex("00C0000013")
READ_PROTECTED = bytes.fromhex("00B0810005")


def main() -> None:
    """Counts pairs, or holds the card until the program is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", help="readers/{id}")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--session", action="store_true", help="open a session for each pair instead of a unit")
    parser.add_argument("--protected", action="store_true", help="read the file behind the PIN as the second command")
    parser.add_argument("--hold", action="store_true", help="open a session, select, and keep the card")
    arguments = parser.parse_args()
    with cardbroker.connect() as client:
        if arguments.hold:
            hold(client, arguments.reader)
        pair = in_session if arguments.session else as_unit
        second = READ_PROTECTED if arguments.protected else GET_RESPONSE
        pairs = broken = 0
        end = None
        while end is None or time.monotonic() < end:
            pairs += 1
            broken += pair(client, arguments.reader, second) != 0x9000
            end = end or time.monotonic() + arguments.seconds
    print(json.dumps({"pairs": pairs, "broken": broken}))


def raw(apdu: bytes) -> cardbroker.Command:
    """A command that is sent exactly as given: otherwise the broker would send GET RESPONSE by itself."""
    return cardbroker.Command(apdu, raw=True)


def as_unit(client: cardbroker.Client, reader: str, second: bytes) -> int:
    """Runs both commands as one unit; returns the last status word."""
    try:
        unit = client.transmit(reader, raw(SELECT), raw(second))
    except cardbroker.StoppedError as stopped:
        unit = stopped.partial
    # A unit that stopped after SELECT is a broken pair.
    return unit.results[-1].status_word if len(unit.results) == 2 else 0


def in_session(client: cardbroker.Client, reader: str, second: bytes) -> int:
    """Runs the commands one by one in a session; returns the last status word."""
    with client.session(reader) as session:
        session.transmit(raw(SELECT))
        return session.transmit(raw(second)).results[-1].status_word


def hold(client: cardbroker.Client, reader: str) -> None:
    """Keeps the lease until the program is killed."""
    with client.session(reader) as session:
        session.transmit(raw(SELECT))
        print(json.dumps({"holding": True}), flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
