"""Converts the errors of grpcio's synchronous calls."""

from __future__ import annotations

import grpc

from cardbroker._errors import CardbrokerError, lost
from cardbroker._relay import RelayError
from cardbroker._status import of_status


def of_rpc_error(error: grpc.RpcError) -> CardbrokerError:
    """Converts the error of a failed call to a `CardbrokerError`."""
    if not isinstance(error, (grpc.Call, RelayError)):
        return lost(str(error))
    return of_status(error.code(), error.details(), error.trailing_metadata())
