"""A typed client of Driftline's services, sync and async: records in; forecasts, live events, scores, models and the
fleet out."""

from driftline_client.async_client import AsyncClient
from driftline_client.calls.forecasts import ForecastInterval, ForecastValue, NextValues
from driftline_client.calls.records import RefusedRecord, SendReceipt
from driftline_client.calls.scores import RaisedAlert
from driftline_client.client import Client
from driftline_client.errors import (
    ApiError,
    BadRequest,
    Busy,
    ClientError,
    Forbidden,
    MalformedPart,
    NoAnswer,
    NoSuchThing,
    StrangeAnswer,
)
from driftline_client.live import LiveBlend, LiveEvent

__all__ = [
    "ApiError",
    "AsyncClient",
    "BadRequest",
    "Busy",
    "Client",
    "ClientError",
    "Forbidden",
    "ForecastInterval",
    "ForecastValue",
    "LiveBlend",
    "LiveEvent",
    "MalformedPart",
    "NextValues",
    "NoAnswer",
    "NoSuchThing",
    "RaisedAlert",
    "RefusedRecord",
    "SendReceipt",
    "StrangeAnswer",
]
