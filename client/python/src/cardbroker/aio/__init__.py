"""The same client for asyncio: `async with await cardbroker.aio.connect() as client`."""

from cardbroker.aio._client import Client, connect
from cardbroker.aio._session import OpenSession, Session
from cardbroker.aio._turns import TurnWatch
from cardbroker.aio._watch import Watch

__all__ = ["Client", "OpenSession", "Session", "TurnWatch", "Watch", "connect"]
