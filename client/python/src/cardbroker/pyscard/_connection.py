"""A card connection of pyscard on top of a session of the broker."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from smartcard import scard
from smartcard.CardConnection import CardConnection
from smartcard.Exceptions import CardConnectionException, NoCardException, SmartcardException

from cardbroker._command import Command
from cardbroker._errors import CardbrokerError
from cardbroker._options import CardReset, Disposition, SessionOptions
from cardbroker._session import Session
from cardbroker.pyscard._broker import client, return_code

_PROTOCOLS = {
    "T0": CardConnection.T0_protocol,
    "T1": CardConnection.T1_protocol,
    "RAW": CardConnection.RAW_protocol,
}

_DISPOSITIONS: dict[int | None, Disposition] = {
    scard.SCARD_LEAVE_CARD: "LEAVE",
    scard.SCARD_UNPOWER_CARD: "UNPOWER",
    scard.SCARD_EJECT_CARD: "UNPOWER",
}

_RESETS: dict[int | None, CardReset] = {
    scard.SCARD_LEAVE_CARD: "NONE",
    scard.SCARD_UNPOWER_CARD: "COLD",
    scard.SCARD_EJECT_CARD: "COLD",
}
"""The reset by `reconnect` for each disposition; a warm reset for all others."""


class BrokerConnection(CardConnection):
    """Holds a lease on the card from `connect` to `disconnect`."""

    def __init__(self, reader: str, resource: str) -> None:
        """Takes the reader's display name and its resource name, `readers/{id}`."""
        CardConnection.__init__(self, reader)
        self._resource = resource
        self._session: Session | None = None
        self._end: Disposition = "RESET"
        """The treatment of the card at the end, an argument of `connect`."""
        self._atr = b""

    def connect(self, protocol: int | None = None, mode: int | None = None, disposition: int | None = None) -> None:
        """Waits for the turn and takes the lease. All share modes are the same, except DIRECT, which raises."""
        CardConnection.connect(self, protocol)
        self._close()
        if mode == scard.SCARD_SHARE_DIRECT:
            raise unsupported("SCARD_SHARE_DIRECT")
        try:
            self._end = _DISPOSITIONS.get(disposition, "RESET")
            self._session = client().session(self._resource, disposition=self._end).open()
            self._atr = self._session.atr
            self._agree(protocol or self.getProtocol())
        except CardbrokerError as error:
            self._fail("Unable to connect", error)

    def reconnect(self, protocol: int | None = None, mode: int | None = None, disposition: int | None = None) -> None:
        """Resets the card, unless `disposition` leaves it; takes a new lease if the broker revoked the last one.

        The treatment at the end remains the one of `connect`.
        """
        CardConnection.reconnect(self, protocol)
        session = self._connected()
        reset = _RESETS.get(disposition, "WARM")
        try:
            if not session.is_open:
                terms = SessionOptions(disposition=self._end)
                if reset != "NONE":
                    terms["reset_before"] = reset
                self._session = session = client().session(self._resource, **terms).open()
                self._atr = session.atr
            elif reset != "NONE":
                self._atr = session.reset(reset)
            self._agree(protocol or CardConnection.T0_protocol | CardConnection.T1_protocol)
        except CardbrokerError as error:
            self._fail("Unable to reconnect", error)

    def disconnect(self) -> None:
        """Ends the lease, if there is one."""
        if self._session is not None:
            CardConnection.disconnect(self)
            self._close()

    def release(self) -> None:
        """Ends the lease and notifies observers of the release."""
        CardConnection.release(self)
        self.disconnect()

    def getATR(self) -> list[int]:  # noqa: N802
        """The card's answer to its last reset."""
        self._connected()
        return list(self._atr)

    def doTransmit(  # noqa: N802
        self, command: Sequence[int], protocol: int | None = None
    ) -> tuple[list[int], int, int]:
        """Sends bytes of any structure exactly as given; returns the response data, SW1 and SW2."""
        try:
            result = self._connected().transmit(Command(bytes(command), raw=True)).results[0]
        except CardbrokerError as error:
            text = f"Failed to transmit: {error}"
            raise CardConnectionException(text, hresult=return_code(error)) from error
        return list(result.data), result.status_word >> 8, result.status_word & 0xFF

    def doControl(self, controlCode: int, command: Sequence[int]) -> NoReturn:  # noqa: N802, N803
        """Raises `SmartcardException`, because the adapter does not support it."""
        raise unsupported("control (SCardControl)")

    def doGetAttrib(self, attribId: int) -> NoReturn:  # noqa: N802, N803
        """Raises `SmartcardException`, because the adapter does not support it."""
        raise unsupported("getAttrib (SCardGetAttrib)")

    def _connected(self) -> Session:
        if self._session is None:
            raise CardConnectionException("Card not connected")
        return self._session

    def _agree(self, wanted: int) -> None:
        """Adopts the protocol that the broker has negotiated with the card."""
        active = client().reader(self._resource).active_protocol
        protocol = _PROTOCOLS.get(active or "", CardConnection.T1_protocol)
        if not protocol & wanted:
            self._close()
            raise CardConnectionException("Unable to connect", hresult=scard.SCARD_E_PROTO_MISMATCH)
        self.setProtocol(protocol)

    def _fail(self, text: str, error: CardbrokerError) -> NoReturn:
        self._close()
        kind: Any = NoCardException if error.reason in ("NO_CARD", "CARD_REMOVED") else CardConnectionException
        raise kind(f"{text}: {error}", hresult=return_code(error)) from error

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        if sys.is_finalizing():
            # The thread that waits for the end of the stream no longer runs.
            session.abort()
            return
        # `close` raises for a session that has already ended.
        with contextlib.suppress(CardbrokerError):
            session.close()


def unsupported(what: str) -> SmartcardException:
    """The error for a feature that the adapter lacks."""
    text = f"{what} does not go through the broker: cardbroker.pyscard does not adapt it"
    return SmartcardException(text, hresult=scard.SCARD_E_UNSUPPORTED_FEATURE)
