"""Prints every reader and each change of its state until the program is interrupted."""

import cardbroker

with cardbroker.connect() as client:
    for event in client.watch():
        if isinstance(event, cardbroker.Updated):
            print(event.reader.name, event.reader.state, flush=True)
