"""Waits for a card, selects its application and reads a record."""

import cardbroker

SELECT = bytes.fromhex("00A4040006F0434152440100")
READ_RECORD = bytes.fromhex("00B2010410")

with cardbroker.connect() as client:
    reader = client.readers()[0]
    unit = client.transmit(reader, SELECT, READ_RECORD, card="AWAITED")
    for result in unit.results:
        print(f"{result.status_word:04X}", result.data)
