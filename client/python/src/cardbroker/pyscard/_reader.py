"""The broker's readers as readers of pyscard, named by their PC/SC names."""

from __future__ import annotations

from collections.abc import Sequence

from smartcard.CardConnectionDecorator import CardConnectionDecorator
from smartcard.Exceptions import CardServiceNotFoundException
from smartcard.reader.Reader import Reader

from cardbroker._errors import CardbrokerError
from cardbroker.pyscard._broker import client, return_code
from cardbroker.pyscard._connection import BrokerConnection, unsupported


class BrokerReader(Reader):
    """A reader of the broker in pyscard's interface."""

    def __init__(self, readername: str, resource: str) -> None:
        """Takes the display name and the resource name, `readers/{id}`."""
        Reader.__init__(self, readername)
        self.resource = resource

    def createConnection(self) -> CardConnectionDecorator:  # noqa: N802
        """A connection to the reader's card, not connected yet."""
        return CardConnectionDecorator(BrokerConnection(self.name, self.resource))

    @staticmethod
    def readers(groups: Sequence[str] = ()) -> list[BrokerReader]:
        """All readers. Raises `CardServiceNotFoundException` without a broker, `SmartcardException` for groups."""
        if groups:
            raise unsupported("a reader group (SCardListReaders)")
        try:
            return [BrokerReader(reader.display_name, reader.name) for reader in client().readers()]
        except CardbrokerError as error:
            raise CardServiceNotFoundException(
                f"Failed to list readers: {error}", hresult=return_code(error)
            ) from error
