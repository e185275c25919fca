"""The wait for cards behind pyscard's CardRequest and CardMonitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from smartcard.AbstractCardRequest import AbstractCardRequest
from smartcard.Card import Card
from smartcard.CardService import CardService
from smartcard.Exceptions import CardRequestException, CardRequestTimeoutException
from smartcard.scard import SCARD_E_TIMEOUT

from cardbroker._errors import CardbrokerError
from cardbroker._reader import Reader
from cardbroker.pyscard._broker import return_code
from cardbroker.pyscard._presence import Presence, presence
from cardbroker.pyscard._reader import BrokerReader

_T = TypeVar("_T")

_Cards = Mapping[str, Reader]


class BrokerCardRequest(AbstractCardRequest):
    """Replaces pyscard's `PCSCCardRequest`, with the same arguments."""

    _insertions: dict[str, str] | None = None
    """The insertions of the last `waitforcardevent` by reader; `None` before the first call."""

    def waitforcard(self) -> CardService:
        """Waits for a card; returns a card service with a connection that is not connected yet."""
        AbstractCardRequest.waitforcard(self)
        known: dict[str, str] = {}
        if self.newcardonly:
            known = self._wait(self._insertions_of)

        def wanted(cards: _Cards) -> BrokerReader | None:
            for name, card in self._asked(cards).items():
                reader = BrokerReader(name, card.name)
                if known.get(name) != card.insertion_id and self.cardType.matches(list(card.atr), reader):
                    return reader
            return None

        reader = self._wait(wanted)
        service: CardService = self.cardServiceClass(reader.createConnection())
        return service

    def waitforcardevent(self) -> list[Card]:
        """Waits for an insertion or a removal since the last call; returns all present cards.

        The first call does not wait. A swap is two events: the removal, then the insertion of the other card.
        """
        AbstractCardRequest.waitforcardevent(self)

        def changed(cards: _Cards) -> dict[str, Reader] | None:
            now = self._insertions_of(cards)
            return None if now == self._insertions else dict(self._asked(cards))

        cards = self._wait(changed)
        reported = self._insertions or {}
        swapped = [name for name, card in cards.items() if reported.get(name, card.insertion_id) != card.insertion_id]
        there = {name: card for name, card in cards.items() if name not in swapped}
        self._insertions = self._insertions_of(there)
        return [Card(name, list(card.atr)) for name, card in there.items()]

    def release(self) -> None:
        """Does nothing: a request holds no resource."""

    def _wait(self, wanted: Callable[[_Cards], _T | None]) -> _T:
        found = self._presence().wait_for(wanted, self.timeout)
        if found is None:
            raise CardRequestTimeoutException(hresult=SCARD_E_TIMEOUT)
        return found

    def _presence(self) -> Presence:
        try:
            return presence()
        except CardbrokerError as error:
            raise CardRequestException(f"Failed to wait: {error}", hresult=return_code(error)) from error

    def _asked(self, cards: _Cards) -> _Cards:
        if self.readersAsked is None:
            return cards
        names = {str(reader) for reader in self.readersAsked}
        return {name: card for name, card in cards.items() if name in names}

    def _insertions_of(self, cards: _Cards) -> dict[str, str]:
        return {name: card.insertion_id for name, card in self._asked(cards).items()}
