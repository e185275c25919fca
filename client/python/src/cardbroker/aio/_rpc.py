"""The errors of grpcio's asyncio calls, as ours."""

from __future__ import annotations

import grpc

from cardbroker._endpoint import Endpoint
from cardbroker._errors import CardbrokerError
from cardbroker._status import of_status


def of_rpc_error(endpoint: Endpoint, error: grpc.aio.AioRpcError) -> CardbrokerError:
    """The failure of a call."""
    return of_status(endpoint, error.code(), error.details(), error.trailing_metadata())
