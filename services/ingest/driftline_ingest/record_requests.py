"""What the REST description says of requests that bring records or futures, and of their answers."""

import json
from typing import Any

from driftline.service.problems import Problem
from driftline_ingest.parsing import PARSERS
from driftline_ingest.receipts import RefusedReceipt

EXAMPLE = {
    "Date_time": "2015-01-01T00:10:00+01:00",
    "Wind_turbine_name": "R80711",
    "Ot_avg": 4.2,
    "P_avg": 250.0,
    "Ws_avg": 6.1,
    "Ba_avg": -1.0,
    "Va_avg": 0.4,
    "Ya_avg": 181.0,
    "Wa_avg": 182.3,
}
FUTURE_EXAMPLE = {
    "issued": "2015-01-01T00:10:00+01:00",
    "Date_time": "2015-01-01T06:00:00+01:00",
    "Wind_turbine_name": "R80711",
    "temperature_forecast": 3.1,
}
ROW = {"type": "object", "additionalProperties": True}


def _documented(example: dict[str, Any], rows: str) -> dict[str, Any]:
    """What the description says of a request. rows: what they have to be."""
    lines = {"schema": {"type": "string", "description": "a JSON object in each line"}, "example": json.dumps(example)}
    bodies: dict[str, dict[str, Any]] = {
        "application/json": {"schema": {"anyOf": [ROW, {"type": "array", "items": ROW}]}, "example": example},
        "text/csv": {
            "schema": {"type": "string"},
            "example": "\n".join(",".join(map(str, row)) for row in (example, example.values())),
        },
    }
    return {
        "parameters": [
            {
                "name": "stream",
                "in": "query",
                "required": False,
                "schema": {"type": "string"},
                "example": "outdoor-temperature",
                "description": "The stream that the records belong to, or the source that streams share; where there "
                "is only one it may stay unnamed.",
            },
            {
                "name": "mapped",
                "in": "query",
                "required": False,
                "schema": {"type": "boolean", "default": False},
                "description": "Whether the rows have the definition's own columns, already mapped and scaled.",
            },
        ],
        "requestBody": {
            "required": True,
            "description": rows,
            "content": {kind: bodies.get(kind, lines) for kind in PARSERS},
        },
    }


DOCUMENTED = _documented(
    EXAMPLE,
    "Rows with the columns that the stream definition names, or with the fields that its `columns` map to them. A "
    "column that a row lacks is a missing value, as null is; other fields are ignored.",
)
FUTURES_DOCUMENTED = _documented(
    FUTURE_EXAMPLE,
    "Rows with the time that a value is for, the time when it was `issued`, the key (and group) where the stream has "
    "one, and the columns of the stream definition's `futures`; a missing value is null.",
)
ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is broken; the answer names the position."},
    401: {"model": Problem, "description": "The token is missing or wrong."},
    403: {"model": Problem, "description": "The token's role is less than a sender's."},
    413: {"model": Problem, "description": "The body is too large, or has too many rows."},
    415: {"model": Problem, "description": "The content type is unknown."},
    429: {"model": Problem, "description": "The sender is over its limit: send the request again after `Retry-After`."},
    422: {
        "model": RefusedReceipt | Problem,
        "description": "Every row was refused, or the stream is unknown.",
    },
    503: {
        "model": Problem,
        "description": "The broker is unavailable, or this machine's clock is not set: no row was accepted.",
    },
}
