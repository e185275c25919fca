"""Token files: a token in the first line, then the broker's certificate; and what makes either of them usable."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from cardbroker._errors import InvalidError
from cardbroker._private_file import read_private

TOKEN_FIELD = "token_file"
"""The field that an error for an unusable token file names."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_MADE = 'as made by "cardbroker token new"'
_MAKE = 'make a new one with "cardbroker token new"'


@dataclass(frozen=True, repr=False)
class TokenFile:
    """What a token file holds."""

    token: str
    certificate: str
    """The broker's certificate in PEM; empty in a file for plain TCP."""

    @classmethod
    def read(cls, file: Path) -> TokenFile:
        """Reads the file; raises `InvalidError` if it cannot be used."""
        try:
            return cls.parse(read_private(file).decode("ascii", "replace"))
        except OSError as error:
            raise InvalidError(TOKEN_FIELD, f"the token file {file} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise InvalidError(TOKEN_FIELD, f"the token file {file} {error}") from None

    @classmethod
    def parse(cls, text: str) -> TokenFile:
        """Parses the text of a token file; `ValueError` names the problem."""
        token, _, certificate = text.strip().partition("\n")
        token, certificate = token.strip(), certificate.strip()
        if not is_token(token):
            raise ValueError(f"holds no token: one line of visible ASCII, {_MADE}")
        if certificate and der_of(certificate) is None:
            raise ValueError(f"has more than a token and a certificate in PEM, {_MADE}")
        if certificate and is_authority(certificate):
            raise ValueError(f"has the certificate of an authority, which could sign others: {_MAKE}")
        return cls(token, certificate)

    @classmethod
    def read_for(cls, file: Path, *, is_plain: bool) -> TokenFile:
        """Reads the file for plain TCP or for TLS. A token that came with a certificate is not sent over plain TCP."""
        found = cls.read(file)
        if not found.certificate and not is_plain:
            text = f"the token file {file} has no certificate: {_MAKE}, or use http:// for plain TCP"
            raise InvalidError(TOKEN_FIELD, text)
        if found.certificate and is_plain:
            text = f"the token file {file} has a certificate, and http:// is plain TCP: use https://"
            raise InvalidError(TOKEN_FIELD, text)
        return found


def is_token(text: str) -> bool:
    """Whether the text is a token: visible ASCII, and not empty."""
    return bool(text) and all("!" <= character <= "~" for character in text)


def der_of(pem: str) -> bytes | None:
    """The bytes of the one certificate in the text; `None` if the text is anything else."""
    match = _CERTIFICATE.fullmatch(pem)
    if match is None:
        return None
    try:
        return base64.b64decode("".join(match[1].split()), validate=True) or None
    except binascii.Error:
        return None


def is_authority(pem: str) -> bool:
    """Whether a holder of the certificate could sign others: TLS would then accept those in its place."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=pem)
    except ssl.SSLError:
        # No certificate at all; the handshake refuses it.
        return False
    return context.cert_store_stats()["x509_ca"] > 0
