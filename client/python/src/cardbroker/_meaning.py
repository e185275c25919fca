"""The meanings of status words (ISO/IEC 7816-4 section 5.6, tables 5 and 6)."""

from __future__ import annotations

_TEXTS = {
    0x9000: "done",
    0x6100: "done, 256 or more bytes are waiting",
    0x6200: "warning, nothing was changed",
    0x6281: "warning, part of the data may be corrupted",
    0x6282: "warning, the end of the file or record came before Le bytes",
    0x6283: "warning, the selected file is deactivated",
    0x6284: "warning, the control information is not formatted as the standard says",
    0x6285: "warning, the selected file is in termination state",
    0x6286: "warning, no data from a sensor on the card",
    0x6287: "warning, at least one of the records is deactivated",
    0x6300: "warning, something was changed",
    0x6381: "warning, the last write filled the file up",
    0x63C0: "not verified, no tries left",
    0x63C1: "not verified, 1 try left",
    0x6400: "execution failed, nothing was changed",
    0x6401: "execution failed, the card needs an immediate response",
    0x6500: "execution failed, something was changed",
    0x6581: "execution failed, memory failure",
    0x6600: "execution failed, security issue",
    0x6700: "wrong length",
    0x6800: "function of the class byte not supported",
    0x6881: "logical channel not supported",
    0x6882: "secure messaging not supported",
    0x6883: "the last command of the chain was expected",
    0x6884: "command chaining not supported",
    0x6900: "command not allowed",
    0x6981: "command does not fit the file's structure",
    0x6982: "security status not satisfied: a PIN or key must be verified first",
    0x6983: "authentication method blocked: no tries left",
    0x6984: "reference data not usable",
    0x6985: "conditions of use not satisfied",
    0x6986: "command not allowed: no file is selected",
    0x6987: "secure messaging objects are missing",
    0x6988: "secure messaging objects are wrong",
    0x6A00: "wrong P1 or P2",
    0x6A80: "wrong parameters in the command's data",
    0x6A81: "function not supported",
    0x6A82: "file or application not found",
    0x6A83: "record not found",
    0x6A84: "not enough memory in the file",
    0x6A85: "length does not fit the TLV structure",
    0x6A86: "wrong P1 or P2",
    0x6A87: "length does not fit P1 and P2",
    0x6A88: "referenced data not found",
    0x6A89: "file exists already",
    0x6A8A: "application name exists already",
    0x6B00: "wrong P1 or P2: offset outside the file",
    0x6C00: "wrong Le: 256 or more bytes are there",
    0x6D00: "instruction not supported",
    0x6E00: "class not supported",
    0x6F00: "failed, no reason given",
}


def meaning(status_word: int) -> str | None:
    """The meaning of a status word, or `None` if ISO 7816-4 defines none (applications define their own)."""
    if text := _TEXTS.get(status_word):
        return text
    sw1, sw2 = status_word >> 8, status_word & 0xFF
    if sw1 == 0x61:
        return f"done, {sw2} more bytes are waiting"
    if sw1 == 0x62 and 0x02 <= sw2 <= 0x80:
        return f"warning, the card wants to be asked for {sw2} bytes"
    if sw1 == 0x63 and sw2 & 0xF0 == 0xC0:
        return f"not verified, {sw2 & 0x0F} tries left"
    if sw1 == 0x64 and 0x02 <= sw2 <= 0x80:
        return f"stopped, the card wants to be asked for {sw2} bytes"
    if sw1 == 0x6C:
        return f"wrong Le: {sw2} bytes are there"
    return None
