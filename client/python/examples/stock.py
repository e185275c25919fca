"""Selects an application with pyscard, through the broker."""

import cardbroker.pyscard

cardbroker.pyscard.register()

from smartcard.System import readers  # noqa: E402

connection = readers()[0].createConnection()
connection.connect()
data, sw1, sw2 = connection.transmit(list(bytes.fromhex("00A4040006F0434152440100")))
print(f"{sw1:02X}{sw2:02X}")
connection.disconnect()
