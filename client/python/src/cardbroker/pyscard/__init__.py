"""Lets programs written for pyscard use the broker: call `register()` once, before anything else of `smartcard`.

    import cardbroker.pyscard
    cardbroker.pyscard.register()

`smartcard.System.readers`, `CardRequest`, `CardMonitor`, `ReaderMonitor` and `smartcard.Session` then go through the
broker, and so does every connection made from them. What is different from a direct use of PC/SC:

* A connection is a session. From `connect` to `disconnect` the card belongs to it alone, whatever share mode is asked
  for. `connect` waits for its turn, 30 s at most, and then fails with SCARD_E_SHARING_VIOLATION. This is so within one
  process too: a second connection to the same card waits for the end of the first.
* A connection that idles for 10 s while others wait is taken away. The next command fails with SCARD_W_RESET_CARD, as
  it does with PC/SC when another program has reset the card; `reconnect` gets the card back, reset.
* After `disconnect` the card is reset; with SCARD_LEAVE_CARD, given to `connect`, it is left as it is for programs of
  the same isolation group.
* `transmit` sends each command exactly as given, as pyscard does: there is no automatic GET RESPONSE.
* A card that is swapped, or reset by a program beside the broker, is removed and inserted for observers.
* A forked child may go on to use pyscard: it gets a connection to the broker of its own. What the parent has connected
  belongs to the parent; the child's use of it fails and says so.

Not adapted:

* `smartcard.scard`, the functions of PC/SC themselves, and `smartcard.pcsc`: they go on to talk to PC/SC, where a card
  that the broker holds answers SCARD_E_SHARING_VIOLATION.
* Reader groups: `readers(groups)` and `readergroups()` raise.
* `control` and `getAttrib` of a connection, and SCARD_SHARE_DIRECT: they raise.

What raises because of that raises `SmartcardException` with SCARD_E_UNSUPPORTED_FEATURE and a text that says so.

Exceptions are pyscard's own; their `__cause__` is the broker's error, with its reason and delivery.
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
    """Makes the broker's readers the readers of pyscard, in place of those of PC/SC.

    With `client`, which the program goes on to own; without one, a client that is made when the first reader is asked
    for, as `cardbroker.connect()` makes it.
    """
    use(client)
    ReaderFactory.factorymethods[:] = [BrokerReader.readers]
    # It has no registry for these.
    module: Any = smartcard.CardRequest
    module.PCSCCardRequest = BrokerCardRequest
    module = smartcard.pcsc.PCSCReaderGroups
    module.PCSCReaderGroups = _no_reader_groups


def _no_reader_groups(*_: object) -> NoReturn:
    raise unsupported("readergroups (SCardListReaderGroups)")
