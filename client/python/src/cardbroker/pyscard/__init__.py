"""Runs programs written for pyscard through the broker: call `register()` once before any other use of `smartcard`.

    import cardbroker.pyscard
    cardbroker.pyscard.register()

`smartcard.System.readers`, `CardRequest`, `CardMonitor`, `ReaderMonitor` and `smartcard.Session` then use the broker,
and so does every connection made from them. Differences from direct PC/SC:

* A connection is a session with an exclusive lease from `connect` to `disconnect`, in every share mode. `connect` waits
  for its turn, 30 s at most, and then fails with SCARD_E_SHARING_VIOLATION. Within one process too, a second connection
  to the same card waits for the end of the first.
* The broker revokes a lease that idles for 10 s while others wait. The next command fails with SCARD_W_RESET_CARD, as
  in PC/SC after a reset by another program; `reconnect` takes a new lease on the reset card.
* `disconnect` resets the card. SCARD_LEAVE_CARD as an argument of `connect` leaves it as it is for programs of the same
  isolation group.
* `transmit` sends each command exactly as given, as pyscard does, without an automatic GET RESPONSE.
* Observers see a removal and an insertion when a card is swapped, or reset by a program that bypasses the broker.
* A forked child may use pyscard through a connection to the broker of its own. Card connections of the parent raise an
  error in the child.

Not adapted:

* `smartcard.scard` (the plain PC/SC functions) and `smartcard.pcsc` still use PC/SC, where a card that the broker
  holds fails with SCARD_E_SHARING_VIOLATION.
* Reader groups: `readers(groups)` and `readergroups()`.
* `control` and `getAttrib` of a connection, and SCARD_SHARE_DIRECT.

The last two raise `SmartcardException` with SCARD_E_UNSUPPORTED_FEATURE.

All exceptions are pyscard's own; their `__cause__` is the broker's error with its reason and delivery.
"""

from __future__ import annotations

from typing import Any, NoReturn

try:
    import smartcard.CardRequest
    import smartcard.pcsc.PCSCReaderGroups
    from smartcard.reader.ReaderFactory import ReaderFactory
except ImportError as error:
    raise ImportError("cardbroker.pyscard needs pyscard: install cardbroker[pyscard]") from error

from cardbroker._client import Client
from cardbroker.pyscard._broker import use
from cardbroker.pyscard._card_request import BrokerCardRequest
from cardbroker.pyscard._connection import BrokerConnection, unsupported
from cardbroker.pyscard._reader import BrokerReader

__all__ = ["BrokerCardRequest", "BrokerConnection", "BrokerReader", "register"]


def register(client: Client | None = None) -> None:
    """Replaces the PC/SC readers of pyscard by the broker's readers.

    The program keeps the ownership of `client`. Without one, the adapter calls `cardbroker.connect()` at the first use
    of a reader.
    """
    use(client)
    ReaderFactory.factorymethods[:] = [BrokerReader.readers]
    # pyscard has no registry for these classes.
    module: Any = smartcard.CardRequest
    module.PCSCCardRequest = BrokerCardRequest
    module = smartcard.pcsc.PCSCReaderGroups
    module.PCSCReaderGroups = _no_reader_groups


def _no_reader_groups(*_: object) -> NoReturn:
    raise unsupported("readergroups (SCardListReaderGroups)")
