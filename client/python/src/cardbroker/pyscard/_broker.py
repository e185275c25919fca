"""The adapter's client, and the conversion of the broker's errors to PC/SC return codes."""

from __future__ import annotations

import threading

from smartcard import scard

from cardbroker import _process
from cardbroker._client import Client, connect
from cardbroker._errors import CardbrokerError

_lock = threading.Lock()
_client: Client | None = None


class _Renewed:
    """Renews the lock in a forked child, where a lost thread may hold it."""

    def on_fork(self) -> None:
        global _lock
        _lock = threading.Lock()


_renewed = _Renewed()
_process.register(_renewed)

_CODES = {
    "NO_CARD": scard.SCARD_E_NO_SMARTCARD,
    "CARD_REMOVED": scard.SCARD_W_REMOVED_CARD,
    "CARD_MUTE": scard.SCARD_W_UNRESPONSIVE_CARD,
    "CARD_RESET": scard.SCARD_W_RESET_CARD,
    "LEASE_ENDED": scard.SCARD_W_RESET_CARD,
    "LEASE_REVOKED": scard.SCARD_W_RESET_CARD,
    "INSERTION_CHANGED": scard.SCARD_W_RESET_CARD,
    "STATE_CHANGED": scard.SCARD_W_RESET_CARD,
    "QUEUE_TIMEOUT": scard.SCARD_E_SHARING_VIOLATION,
    "QUEUE_FULL": scard.SCARD_E_SHARING_VIOLATION,
    "OVER_BUDGET": scard.SCARD_E_SHARING_VIOLATION,
    "HELD_ELSEWHERE": scard.SCARD_E_SHARING_VIOLATION,
    "READER_NOT_FOUND": scard.SCARD_E_UNKNOWN_READER,
    "READER_GONE": scard.SCARD_E_READER_UNAVAILABLE,
    "READER_NOT_OWNED": scard.SCARD_E_READER_UNAVAILABLE,
    "READER_UNRESPONSIVE": scard.SCARD_E_READER_UNAVAILABLE,
    "INVALID_REQUEST": scard.SCARD_E_INVALID_PARAMETER,
    "UNSUPPORTED_LENGTH": scard.SCARD_E_INVALID_PARAMETER,
    "DENIED": scard.SCARD_W_SECURITY_VIOLATION,
    "UNAUTHENTICATED": scard.SCARD_W_SECURITY_VIOLATION,
    "PIN_KNOWN_WRONG": scard.SCARD_W_WRONG_CHV,
    "PIN_LAST_TRY": scard.SCARD_W_WRONG_CHV,
    "NOT_IMPLEMENTED": scard.SCARD_E_UNSUPPORTED_FEATURE,
    "PCSC_UNAVAILABLE": scard.SCARD_E_NO_SERVICE,
    "SHUTTING_DOWN": scard.SCARD_E_NO_SERVICE,
    None: scard.SCARD_E_NO_SERVICE,
}


def use(client: Client | None) -> None:
    """Sets the adapter's client; `None`: the adapter makes a client at its first use."""
    global _client
    with _lock:
        _client = client


def client() -> Client:
    """The adapter's client, made at the first use; raises `CardbrokerError` if that fails."""
    global _client
    with _lock:
        if _client is None:
            _client = connect()
        return _client


def return_code(error: CardbrokerError) -> int:
    """The PC/SC return code for an error of the broker."""
    return int(_CODES.get(error.reason, scard.SCARD_F_COMM_ERROR))
