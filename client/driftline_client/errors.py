"""What can go wrong between a client and a service.

    ClientError
    ├── NoAnswer             the service can't be reached, or broke off
    ├── StrangeAnswer        what answers is no Driftline, or one of another release
    └── ApiError             the service answered with an error
        ├── BadRequest       the request can't be used: 400, 409, 413, 415, 422 and the like
        ├── Forbidden        401, 403
        ├── NoSuchThing      404
        └── Busy             429, 5xx: the same request may succeed later

Pure.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

BLANK = "about:blank"
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


class MalformedPart(msgspec.Struct, frozen=True):
    """A part of a request that is not as expected. where: such as `body.member`."""

    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}, expected {self.expected}"


class ApiError(ClientError):
    """The service answered with an error, as problem details (RFC 9457) shape it.

    detail: what it found and expected. retry_after: seconds after which it wants to be asked again, where it says so.
    problem: the whole answer, with the fields that problems of its `type` have beyond the common ones.
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
        """The problem's kind, a URI reference: a page of the service, unless its status says all (`about:blank`)."""
        return self._text("type") or BLANK

    @property
    def title(self) -> str:
        """The kind in words."""
        return self._text("title")

    @property
    def instance(self) -> str:
        """The path that was asked for; of an unexpected error its name in the service's log."""
        return self._text("instance")

    @property
    def malformed(self) -> list[MalformedPart]:
        """The parts of the request that are not as expected, where it is one of that type."""
        return _parts(self.problem)

    def _text(self, name: str) -> str:
        value = self.problem.get(name)
        return value if isinstance(value, str) else ""


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
    said = str(problem.get("detail") or problem.get("error") or problem.get("title") or "")
    return "; ".join(map(str, _parts(problem))) or said or body[:TEXT].decode(errors="replace")


def _parts(problem: Mapping[str, Any]) -> list[MalformedPart]:
    """Whatever else an answer says, it is an error still."""
    try:
        return msgspec.convert(problem.get("errors", []), list[MalformedPart])
    except msgspec.ValidationError:
        return []


def _seconds(header: str | None) -> float | None:
    """Services send seconds; a date, as a proxy may send it, is left out."""
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
