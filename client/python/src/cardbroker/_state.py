"""The state of a gRPC channel, and the wait until it has connected once."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator

import grpc

FIRST_PAUSE = 0.001
"""The first pause between two looks at the state of a channel, in seconds."""

_LONGEST_PAUSE = 0.02


class State(enum.Enum):
    """The state of a channel, as far as a client asks for it."""

    IDLE = b"idle"
    """It has not begun to connect, or has lost its connection: the next call would connect it."""
    CONNECTING = b"connecting"
    READY = b"ready"
    FAILED = b"failed"
    """It could not connect, or is closed."""


_STATES = {
    grpc.ChannelConnectivity.IDLE: State.IDLE,
    grpc.ChannelConnectivity.CONNECTING: State.CONNECTING,
    grpc.ChannelConnectivity.READY: State.READY,
}


def state_of(channel: object, *, begin: bool = False) -> State:
    """The state of gRPC's channel; with `begin` an idle one begins to connect.

    Without asyncio grpcio offers this only through a polling thread, so this function uses a private attribute.
    """
    check = getattr(getattr(channel, "_channel", None), "check_connectivity_state", None)
    if check is None:
        return State.READY
    number = check(begin)
    return state_for(next(each for each in grpc.ChannelConnectivity if each.value[0] == number))


def state_for(connectivity: grpc.ChannelConnectivity) -> State:
    """The state for gRPC's own one."""
    return _STATES.get(connectivity, State.FAILED)


def connecting(states: Callable[[bool], State], clock: Callable[[], float], end: float) -> Iterator[float]:
    """Lets an idle channel connect once. Yields pauses, in seconds, until it has connected or cannot, or until `end`.

    `states` returns the channel's state; with the argument true an idle channel begins to connect.
    """
    pause, has_begun = FIRST_PAUSE, False
    state = states(True)
    while clock() < end:
        has_begun = has_begun or state is State.CONNECTING
        # A channel that is idle again has lost its connection already.
        if state in (State.READY, State.FAILED) or (state is State.IDLE and has_begun):
            return
        yield pause
        pause = min(pause * 2, _LONGEST_PAUSE)
        state = states(False)
