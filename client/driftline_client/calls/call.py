"""A request as a value: what is asked of which service, and how the answer is read. Both clients send it. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec

from driftline_client.errors import ApiError, StrangeAnswer, api_error

T = TypeVar("T")
Service = Literal["ingest", "inference", "combiner", "trainer"]
Query = Sequence[tuple[str, str | int]]
OK = range(200, 300)


@dataclass(frozen=True)
class Reply:
    """What came back. next_page: the address of the page behind this one. date: the service's clock, as its header."""

    service: Service
    status: int
    body: bytes
    retry_after: str | None = None
    next_page: str | None = None
    date: str | None = None

    def error(self) -> ApiError:
        return api_error(self.service, self.status, self.body, self.retry_after)


@dataclass(frozen=True)
class Call(Generic[T]):
    """read: makes the answer of a reply; raises ApiError, StrangeAnswer. is_repeatable: whether sending it twice has
    the effect of sending it once, so that it may be tried again."""

    service: Service
    method: Literal["GET", "POST", "DELETE"]
    path: str
    read: Callable[[Reply], T]
    query: Query = ()
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True

    def at(self, url: str) -> "Call[T]":
        """The same for another page."""
        return replace(self, path=url, query=())


def get(service: Service, path: str, answer: type[T], query: Query = ()) -> Call[T]:
    return Call(service, "GET", path, reading(answer), query)


def post(service: Service, path: str, answer: type[T], asked: object = None, *, is_repeatable: bool) -> Call[T]:
    content, headers = msgspec.json.encode(asked), {"Content-Type": "application/json"}
    return Call(service, "POST", path, reading(answer), (), content, headers, is_repeatable)


def reading(answer: type[T]) -> Callable[[Reply], T]:
    """Reads bodies of this type."""

    def read(reply: Reply) -> T:
        return decoded(good(reply).body, answer)

    return read


def good(reply: Reply) -> Reply:
    """The same. Raises ApiError for one that says what went wrong."""
    if reply.status not in OK:
        raise reply.error()
    return reply


def decoded(body: bytes, answer: type[T]) -> T:
    """Fields that this release does not know are left out. Raises StrangeAnswer."""
    try:
        return msgspec.json.decode(body, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StrangeAnswer(f"expected an answer of Driftline's: {error}") from error


def in_path(name: str) -> str:
    """A name as one part of a path, whatever is in it."""
    return quote(name, safe="")
