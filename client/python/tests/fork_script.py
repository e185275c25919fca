"""A program that forks while it follows the readers and holds a card; `test_fork.py` runs it.

Its argument names one of the scenes below. Prints one line each for the child and the parent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

import pytest
from broker import READ_RECORD, READER, SELECT

import cardbroker
import cardbroker.aio

OTHER = "readers/simulated-reader-01"
CHILD_TIME = 20


def in_child(work: Callable[[], None], *, exits: bool = False) -> int:
    """Runs the work in a forked child; returns its exit status, or minus its signal."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_TIME)
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        if exits:
            # Ends like a program without knowledge of forks.
            sys.exit(status)
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def transmits(client: cardbroker.Client) -> None:
    """Lists the readers and sends a command."""
    assert len(client.readers()) == 2
    assert client.transmit(OTHER, SELECT).results[0].status_word == 0x9000


def refuses(call: Callable[[], object]) -> None:
    """Checks that objects of the parent raise an error."""
    with pytest.raises(cardbroker.FailedError) as caught:
        call()
    assert caught.value.delivery == "NOT_SENT"
    print(caught.value)


def threads() -> None:
    """Scene: the client without asyncio."""
    with cardbroker.connect() as client, client.watch() as watch, client.session(READER) as session:
        threading.Thread(target=list, args=(watch,), daemon=True).start()
        session.transmit(SELECT)

        def child() -> None:
            transmits(client)
            with cardbroker.connect() as own, own.session(OTHER) as inner, own.watch() as readers:
                assert isinstance(next(readers), cardbroker.Connected)
                assert inner.transmit(SELECT).results[0].status_word == 0x9000
            with cardbroker.connect() as own:
                transmits(own)
                assert in_child(lambda: transmits(own)) == 0
                transmits(own)
            refuses(lambda: session.transmit(SELECT))
            refuses(session.close)
            client.close()

        for number in range(4):
            assert in_child(child, exits=number % 2 == 1) == 0
            assert session.transmit(READ_RECORD).results[0].status_word == 0x9000
            assert client.transmit(OTHER, SELECT).results[0].status_word == 0x9000
        assert watch.is_connected


async def tasks() -> None:
    """Scene: the client for asyncio."""
    async with await cardbroker.aio.connect() as client, client.session(READER) as session:
        watch = client.watch()
        await watch.__anext__()
        following = asyncio.create_task(watch.__anext__())

        def child() -> None:
            asyncio._set_running_loop(None)
            refuses(lambda: asyncio.run(client.readers()))
            refuses(lambda: asyncio.run(session.transmit(SELECT)))
            refuses(lambda: asyncio.run(cardbroker.aio.connect()))
            with cardbroker.connect() as own:
                transmits(own)

        for number in range(4):
            assert in_child(child) == 0, number
            assert (await session.transmit(READ_RECORD)).results[0].status_word == 0x9000
            assert (await client.transmit(OTHER, SELECT)).results[0].status_word == 0x9000
        following.cancel()
        watch.close()


def pyscard() -> None:
    """Scene: a program written for pyscard."""
    import cardbroker.pyscard

    cardbroker.pyscard.register()
    from smartcard.CardRequest import CardRequest
    from smartcard.Exceptions import CardConnectionException
    from smartcard.System import readers

    held = readers()[0].createConnection()
    held.connect()
    CardRequest(timeout=5).waitforcard()

    def child() -> None:
        connection = readers()[1].createConnection()
        connection.connect()
        assert connection.transmit([0x80, 0x10, 0x00, 0x00, 0x04])[1:] == (0x90, 0x00)
        connection.disconnect()
        assert CardRequest(timeout=5).waitforcard()
        try:
            held.transmit(list(SELECT))
        except CardConnectionException as error:
            print(error)

    for _ in range(2):
        assert in_child(child) == 0
        assert held.transmit(list(READ_RECORD))[1:] == (0x90, 0x00)
    held.disconnect()


def dies() -> None:
    """Scene: leaves a child behind that must hold no socket of its parent."""
    session = cardbroker.connect().session(READER).open()
    if os.fork() == 0:
        signal.alarm(CHILD_TIME)
        signal.pause()
    print(session.is_open, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    scene = sys.argv[1]
    if scene == "tasks":
        asyncio.run(tasks())
    else:
        {"threads": threads, "pyscard": pyscard, "dies": dies}[scene]()
    print("the parent still works")
