"""A program written for pyscard without any use of this package; `test_pyscard.py` runs it."""

import sys
import threading

from smartcard.CardConnection import CardConnection
from smartcard.CardConnectionObserver import ConsoleCardConnectionObserver
from smartcard.CardMonitoring import CardMonitor, CardObserver
from smartcard.CardRequest import CardRequest
from smartcard.CardType import ATRCardType
from smartcard.Exceptions import CardConnectionException, CardRequestTimeoutException, NoCardException
from smartcard.System import readers
from smartcard.util import toBytes, toHexString

SELECT = [0x00, 0xA4, 0x04, 0x00, 0x06, 0xF0, 0x43, 0x41, 0x52, 0x44, 0x01, 0x00]
GET_RESPONSE = [0x00, 0xC0, 0x00, 0x00]

# The first reader and its card.
reader = readers()[0]
print("reader", reader)
connection = reader.createConnection()
connection.connect()
print("atr", toHexString(connection.getATR()))
print("T1", connection.getProtocol() == CardConnection.T1_protocol)
data, sw1, sw2 = connection.transmit(SELECT)
print(f"select {data} {sw1:02X} {sw2:02X}")
data, sw1, sw2 = connection.transmit([*GET_RESPONSE, sw2])
print(f"response {len(data)} bytes {sw1:02X} {sw2:02X}")
connection.reconnect()
print("after reconnect", connection.transmit(toBytes("00 B2 01 04 10"))[1:])
connection.disconnect()
try:
    connection.transmit(SELECT)
except CardConnectionException as error:
    print("disconnected:", error)

# Any card, or a card with this ATR.
service = CardRequest(timeout=5, cardType=ATRCardType(toBytes("3B 08 80 66 43 42 00 01 00 00"))).waitforcard()
print("found", service.connection.getReader())
service.connection.addObserver(ConsoleCardConnectionObserver())
service.connection.connect()
service.connection.transmit([0x80, 0x10, 0x00, 0x00, 0x04])
service.connection.disconnect()
try:
    CardRequest(timeout=0.05, newcardonly=True).waitforcard()
except CardRequestTimeoutException:
    print("no new card")


class Observer(CardObserver):
    """Prints insertions and removals."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Condition()
        self.events: list[str] = []

    def update(self, observable: object, handlers: tuple[list[object], list[object]]) -> None:
        """Prints one change; pyscard calls it."""
        added, removed = handlers
        with self.seen:
            self.events += [f"- {card}" for card in removed] + [f"+ {card}" for card in added]
            self.seen.notify_all()

    def wait(self, count: int) -> None:
        """Waits for this number of events."""
        with self.seen:
            assert self.seen.wait_for(lambda: len(self.events) >= count, 20), self.events


monitor = CardMonitor()
observer = Observer()
monitor.addObserver(observer)
observer.wait(2)

# The card is swapped, and then removed.
connection.connect()
connection.transmit([0x80, 0xF0, 0x03, 0x00, 0x04, 0, 0, 0, 0])
connection.disconnect()
observer.wait(4)
connection.connect()
connection.transmit([0x80, 0xF0, 0x02, 0x00, 0x04, 0, 0, 0xFF, 0xFF])
connection.disconnect()
observer.wait(5)
monitor.deleteObserver(observer)
for event in observer.events:
    print(event)
try:
    connection.connect()
except NoCardException as error:
    print("no card:", f"{error.hresult & 0xFFFFFFFF:08X}")

# The connection stays open, as in many programs.
readers()[1].createConnection().connect()
kept = readers()[1].createConnection()
kept.connect()
sys.stdout.flush()
