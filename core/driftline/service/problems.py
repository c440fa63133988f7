"""Errors as clients get them: problem details (RFC 9457), in one shape from every service.

`detail` says what was found and expected. `type` is `about:blank` where the status says all; where there is more in the
body it leads to a page that every service has, since an edge may have no internet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import msgspec
from fastapi import Response
from pydantic import BaseModel, Field

MEDIA_TYPE: Final = "application/problem+json"
PAGE: Final = "/docs/problems"
"""Where a service says what its problem types mean."""
BLANK: Final = "about:blank"
RETRY_AFTER_S: Final = 2
LONGEST_INSTANCE: Final = 2048
IN_PATHS: Final = "/:@!$&'()*+,;=~"
"""What a path of a URI may hold as it is, besides letters and digits."""
OF_STATUS: Final[Mapping[int, Mapping[str, str]]] = {
    401: {"WWW-Authenticate": "Bearer"},
    503: {"Retry-After": str(RETRY_AFTER_S)},
}
"""Headers that belong to a status."""


@dataclass(frozen=True)
class ProblemType:
    """A kind of problem whose body has more than the common fields. meaning: in Markdown."""

    name: str
    title: str
    meaning: str

    @property
    def uri(self) -> str:
        return f"{PAGE}#{self.name}"


MALFORMED = ProblemType(
    "malformed-request",
    "The request is not as expected",
    "A part of the request has the wrong form. `errors` lists the parts: `where` it is, what was `found` there, and "
    "what was `expected`. The same request fails again.",
)
NO_ROW = ProblemType(
    "no-row-accepted",
    "No row was accepted",
    "None of the rows can be used. `refused` lists rows with their reasons, and the other fields are those of a "
    "receipt. The same rows fail again.",
)
TOO_LARGE = ProblemType(
    "object-too-large",
    "The object is too large",
    "An object of the store has more bytes than the reader takes. `size` is its size, null where nobody knows it.",
)
UNSTORABLE = ProblemType(
    "unstorable-object",
    "The object can't be stored",
    "The object store will never take this object, because of its name or its size. `unstorable` is true.",
)
TYPES: Final = (MALFORMED, NO_ROW, TOO_LARGE, UNSTORABLE)
"""All of them; every other problem is `about:blank`, whose title is that of its status."""


class Wrong(BaseModel):
    """A part of the request that is not as expected."""

    where: str = Field(examples=["body.member"])
    found: str = Field(examples=["'quick'"])
    expected: str = Field(examples=["Input should be 'batch' or 'speed'"])


class Problem(BaseModel):
    """The error as RFC 9457 shapes it, with media type `application/problem+json`; for a malformed request also its
    position."""

    type: str = Field(description="its kind: a page of this service, unless it is `about:blank`", examples=[BLANK])
    title: str = Field(description="the kind in words", examples=["Not Found"])
    status: int = Field(description="the status of the answer", examples=[404])
    detail: str = Field(description="the value that was found, and the one that was expected")
    instance: str = Field(
        "", description="the path that was asked for; of an unexpected error its name in the service's log"
    )
    errors: list[Wrong] = []


def problem(
    status: int,
    detail: str,
    *,
    kind: ProblemType | None = None,
    instance: str = "",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """The answer. kind: where there are fields beyond the common ones, which `more` are."""
    body = problem_body(status, detail, kind=kind, instance=instance, **more)
    return Response(body, status, {**OF_STATUS.get(status, {}), **(headers or {})}, MEDIA_TYPE)


def problem_body(
    status: int, detail: str, *, kind: ProblemType | None = None, instance: str = "", **more: Any
) -> bytes:
    """The same as bytes."""
    common = {
        "type": kind.uri if kind else BLANK,
        "title": kind.title if kind else title_of(status),
        "status": status,
        "detail": detail,
    }
    return msgspec.json.encode({**common, **({"instance": instance} if instance else {}), **more})


def instance_of(path: str) -> str:
    """A request's path as a URI reference; its query is left out, since it may hold a password. Empty where it is too
    long to be repeated."""
    quoted = quote(path, safe=IN_PATHS, errors="replace")
    return quoted if len(quoted) <= LONGEST_INSTANCE else ""


def title_of(status: int) -> str:
    """Of a problem about which its status says all."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
