"""The errors of grpcio's asyncio calls, as ours."""

from __future__ import annotations

import grpc

from cardbroker._errors import CardbrokerError
from cardbroker._status import of_status


def of_rpc_error(error: grpc.aio.AioRpcError) -> CardbrokerError:
    """The failure of a call."""
    return of_status(error.code(), error.details(), error.trailing_metadata())
