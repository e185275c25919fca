"""Verifies the simulated card's PIN and reads the file behind it, if the card accepts the PIN."""

import cardbroker

verify = bytes.fromhex("00200080083132333435363738")
read = bytes.fromhex("00B0810020")

with cardbroker.connect() as client:
    reader = client.readers()[0]
    with client.session(reader, card="AWAITED") as session:
        if session.transmit(verify).results[0].status_word == 0x9000:
            print(session.transmit(read).results[0].data)
