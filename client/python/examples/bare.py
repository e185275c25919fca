"""Runs a command with the generated code of the contract alone."""

import json
import os
import sys

import grpc
from cardbroker.v1 import command_pb2, reader_pb2, service_pb2_grpc, transmit_pb2

channel = grpc.insecure_channel(
    os.environ["CARDBROKER_ENDPOINT"],
    # The default authority is the socket's path, with which every call fails.
    options=[("grpc.default_authority", "localhost")],
)
broker = service_pb2_grpc.CardBrokerServiceStub(channel)
readers = broker.ListReaders(reader_pb2.ListReadersRequest(), timeout=10).readers
select = command_pb2.Command(apdu=command_pb2.ApduCommand(bytes=bytes.fromhex("00A4040006F0434152440100")))
answer = broker.Transmit(transmit_pb2.TransmitRequest(reader=sys.argv[1], commands=[select]), timeout=180)
print(json.dumps({"readers": len(readers), "status_word": answer.results[-1].apdu.status_word}))
