"""What can go wrong between a client and a service.

    ClientError
    ├── NoAnswer             the service can't be reached, or broke off
    ├── StrangeAnswer        what answers is no Driftline, or one of another release
    └── ApiError             the service answered with an error
        ├── BadRequest       the request can't be used: 400, 409, 413, 415, 422 and the like
        ├── Forbidden       401, 403
        ├── NoSuchThing      404
        └── Busy             429, 5xx: the same request may succeed later

Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

NOT_FOUND = 404
TOO_MANY = 429
SERVER_ERROR = 500
TEXT = 500
"""Characters of an answer that is no JSON, which is then what there is to say."""


class ClientError(Exception):
    """Any of these."""


class NoAnswer(ClientError):
    """The service can't be reached, or broke off. url: where it was looked for."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} does not answer: {reason}")
        self.url = url
        self.reason = reason


class StrangeAnswer(ClientError):
    """Something else than a Driftline answers, or one of another release."""


class ApiError(ClientError):
    """The service answered with an error, as problem details (RFC 9457) shape it.

    detail: what it found and expected. retry_after: seconds after which it wants to be asked again, where it says so.
    problem: the whole answer.
    """

    def __init__(
        self,
        service: str,
        status: int,
        detail: str,
        *,
        retry_after: float | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{service} answered {status}: {detail}")
        self.service = service
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.problem = dict(problem or {})

    @property
    def type(self) -> str:
        """The problem's kind, a URI reference."""
        return str(self.problem.get("type", "about:blank"))

    @property
    def title(self) -> str:
        """The kind in words."""
        return str(self.problem.get("title", ""))


class BadRequest(ApiError):
    """The request can't be used; the same one fails again."""


class Forbidden(ApiError):
    """The token is missing, wrong, or not enough."""


class NoSuchThing(ApiError):
    """There is none, or none yet."""


class Busy(ApiError):
    """The same request may succeed later."""


KINDS: Mapping[int, type[ApiError]] = {401: Forbidden, 403: Forbidden, NOT_FOUND: NoSuchThing, TOO_MANY: Busy}


def api_error(service: str, status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """What an answer that is an error says. retry_after: its header."""
    problem = _problem(body)
    kind = KINDS.get(status, Busy if status >= SERVER_ERROR else BadRequest)
    return kind(service, status, _detail(problem, body), retry_after=_seconds(retry_after), problem=problem)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _detail(problem: Mapping[str, Any], body: bytes) -> str:
    """With every part of the request that is not as expected."""
    parts = [part for part in map(_part, _listed(problem.get("errors"))) if part]
    said = str(problem.get("detail") or problem.get("error") or problem.get("title") or "")
    return "; ".join(parts) or said or body[:TEXT].decode(errors="replace")


def _listed(errors: Any) -> Sequence[Any]:
    return errors if isinstance(errors, list) else []


def _part(error: Any) -> str:
    if not isinstance(error, dict) or "expected" not in error:
        return ""
    was = f"found {error['found']}, " if "found" in error else ""
    return f"{error.get('where', '')}: {was}expected {error['expected']}"


def _seconds(header: str | None) -> float | None:
    """Services send seconds; a date, as a proxy may send it, is left out."""
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
