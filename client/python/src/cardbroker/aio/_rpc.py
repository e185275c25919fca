"""Converts the errors of grpcio's asyncio calls."""

from __future__ import annotations

import grpc

from cardbroker._errors import CardbrokerError
from cardbroker._status import of_status


def of_rpc_error(error: grpc.aio.AioRpcError) -> CardbrokerError:
    """Converts the error of a failed call to a `CardbrokerError`."""
    return of_status(error.code(), error.details(), error.trailing_metadata())
