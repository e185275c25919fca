"""The client for asyncio: its shell behaves like the shell for threads."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

import pytest
from broker import GET_RESPONSE, PROTECTED, READ_RECORD, READER, SELECT, VERIFY, Broker, fault, raw, slow

import cardbroker
from cardbroker import Connected, Disconnected, Removed, Updated, aio

Story = Callable[[aio.Client], Awaitable[None]]


def tell(broker: Broker, story: Story) -> None:
    """Runs a scenario with a client, within a minute."""

    async def run() -> None:
        async with await aio.connect(broker.endpoint) as client:
            await client.transmit(READER, SELECT, card="AWAITED")
            await story(client)

    asyncio.run(asyncio.wait_for(run(), 60))


async def refused(call: Awaitable[object]) -> tuple[str | None, str]:
    """The failure of a call that must fail."""
    with pytest.raises(cardbroker.CardbrokerError) as caught:
        await call
    return caught.value.reason, caught.value.delivery


def test_units_are_answered_stopped_and_refused(broker: Broker) -> None:
    async def story(client: aio.Client) -> None:
        assert (await client.readers())[0].name == READER
        assert (await client.transmit(READER, READ_RECORD)).results[0].data == b"Simulated record"
        with pytest.raises(cardbroker.StoppedError) as caught:
            await client.transmit(READER, PROTECTED, READ_RECORD)
        assert caught.value.partial.results[0].status_word == 0x6982
        assert await refused(client.transmit("readers/none", SELECT)) == ("READER_NOT_FOUND", "NOT_SENT")
        assert await refused(client.transmit(READER)) == ("INVALID_REQUEST", "NOT_SENT")

    tell(broker, story)


def test_a_missing_broker_is_reported() -> None:
    with pytest.raises(cardbroker.NotRunningError, match="no broker at unix:/nowhere/a"):
        asyncio.run(aio.connect("unix:/nowhere/a", connect_timeout=0.2))


@pytest.mark.parametrize("operation", ["readers", "transmit", "session", "watch", "watch_turn"])
def test_every_operation_waits_for_a_broker_that_is_away(broker: Broker, operation: str) -> None:
    async def story(client: aio.Client) -> None:
        broker.kill()
        while client._wire.line():
            await asyncio.sleep(0.002)

        def restart() -> None:
            time.sleep(1)
            broker.restart()

        back = asyncio.create_task(asyncio.to_thread(restart))
        if operation == "readers":
            assert await client.readers()
        elif operation == "transmit":
            assert (await client.transmit(READER, SELECT, card="AWAITED")).results[0].status_word == 0x9000
        elif operation == "session":
            await (await client.session(READER, card="AWAITED").open()).close()
        elif operation == "watch":
            async with client.watch() as watch:
                assert isinstance(await watch.__anext__(), Connected)
        else:
            async with await client.watch_turn() as turns:
                assert await turns.__anext__() == []
        await back

    tell(broker, story)


def test_a_cancelled_unit_leaves_the_queue(broker: Broker) -> None:
    async def story(client: aio.Client) -> None:
        async with client.session(READER) as session:
            waiting = asyncio.create_task(client.transmit(READER, SELECT))
            while not session.waiters:
                await asyncio.sleep(0.002)
            waiting.cancel()
            while session.waiters:
                await asyncio.sleep(0.002)

    tell(broker, story)


def test_a_session_answers_pipelined_calls_in_order_and_closes(broker: Broker) -> None:
    async def story(client: aio.Client) -> None:
        async with client.session(READER) as session:
            calls = (session.transmit(bytes((0x80, 0x14, 0, 0, 1, n, 1))) for n in range(80))
            assert [answer.results[0].data[0] for answer in await asyncio.gather(*calls)] == list(range(80))
            pair = session.transmit(raw(SELECT)), session.transmit(raw(GET_RESPONSE))
            assert [answer.results[0].status_word for answer in await asyncio.gather(*pair)] == [0x6113, 0x9000]
            assert await session.reset() == session.atr
            await session.transmit(VERIFY)
        assert not session.is_open
        assert await refused(session.transmit(SELECT)) == (None, "NOT_SENT")
        assert (await client.transmit(READER, PROTECTED)).results[0].status_word == 0x6982

    tell(broker, story)


def test_a_failure_fails_messages_behind_it_but_not_the_next(broker: Broker) -> None:
    async def story(client: aio.Client) -> None:
        async with client.session(READER) as session:
            bad = SELECT + b"\x00\x00\x00"
            outcomes = await asyncio.gather(
                session.transmit(bad), session.transmit(READ_RECORD), session.reset(), return_exceptions=True
            )
            reasons = [getattr(outcome, "reason", None) for outcome in outcomes]
            assert reasons == ["INVALID_REQUEST", "PRECEDING_FAILED", "PRECEDING_FAILED"]
            for _ in range(2):
                assert (await session.transmit(READ_RECORD)).results[0].status_word == 0x9000

    tell(broker, story)


def test_a_cancelled_call_harms_no_session(broker: Broker) -> None:
    async def story(client: aio.Client) -> None:
        async with client.session(READER) as session:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session.transmit(slow(200)), 0.05)
            assert (await session.transmit(READ_RECORD)).results[0].status_word == 0x9000

    tell(broker, story)


def test_an_abrupt_end_resets_the_card(broker: Broker) -> None:
    async def story(client: aio.Client) -> None:
        with pytest.raises(KeyError):
            async with client.session(READER, disposition="LEAVE") as session:
                await session.transmit(VERIFY)
                raise KeyError
        assert (await client.transmit(READER, PROTECTED)).results[0].status_word == 0x6982
        forgotten = await client.session(READER, disposition="LEAVE").open()
        await forgotten.transmit(VERIFY)
        del forgotten
        gc.collect()
        assert (await client.transmit(READER, PROTECTED)).results[0].status_word == 0x6982

    tell(broker, story)


def test_a_cancelled_wait_for_a_session_leaves_the_queue(broker: Broker) -> None:
    async def story(client: aio.Client) -> None:
        async with client.session(READER) as session:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.session(READER).open(), 0.1)
            while session.waiters:
                await asyncio.sleep(0.002)

    tell(broker, story)


def test_a_removal_ends_the_session(broker: Broker) -> None:
    async def story(client: aio.Client) -> None:
        session = await client.session(READER).open()
        assert await refused(session.transmit(fault(1, 0, 0xFFFF))) == ("CARD_REMOVED", "UNKNOWN")
        while session.is_open:
            await asyncio.sleep(0.002)
        assert await refused(session.reset()) == ("CARD_REMOVED", "NOT_SENT")
        assert (await refused(session.close()))[0] == "CARD_REMOVED"

    tell(broker, story)


def test_a_watch_survives_the_broker_and_cancelled_waits(broker: Broker) -> None:
    async def story(client: aio.Client) -> None:
        async with client.watch() as watch:
            kinds = [type(await watch.__anext__()) for _ in range(3)]
            assert kinds == [Connected, Updated, Updated]
            for _ in range(2):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(watch.__anext__(), 0.05)
            assert watch.is_connected
            broker.kill()
            assert isinstance(await watch.__anext__(), Disconnected)
            broker._readers = 1
            broker.restart()
            assert isinstance(await watch.__anext__(), Connected)
            assert isinstance(await watch.__anext__(), Removed)
            async for event in watch:
                if isinstance(event, Updated) and event.reader.state == "READY":
                    break
            waiting = asyncio.create_task(watch.__anext__())
            await asyncio.sleep(0)
            watch.close()
            with pytest.raises(StopAsyncIteration):
                await waiting

    tell(broker, story)
