"""Makes methods of clients out of functions that make calls, so that each is written once for both clients."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from driftline_client.calls.call import Call

P = ParamSpec("P")
T = TypeVar("T")


class Asks(Protocol):
    """A client that waits for its answers."""

    def ask(self, call: Call[T]) -> T: ...

    def pages(self, call: Call[list[T]]) -> Iterator[T]: ...


class AsksAsync(Protocol):
    """A client whose answers are awaited."""

    async def ask(self, call: Call[T]) -> T: ...

    def pages(self, call: Call[list[T]]) -> AsyncIterator[T]: ...


def asking(making: Callable[P, Call[T]]) -> Callable[Concatenate[Asks, P], T]:
    """A method that returns the answer of the call."""

    @wraps(making)
    def method(self: Asks, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.ask(making(*args, **kwargs))

    return method


def paging(making: Callable[P, Call[list[T]]]) -> Callable[Concatenate[Asks, P], Iterator[T]]:
    """A method that yields what is on all pages, each asked for when it is needed."""

    @wraps(making)
    def method(self: Asks, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.pages(making(*args, **kwargs))

    return method


def awaiting(making: Callable[P, Call[T]]) -> Callable[Concatenate[AsksAsync, P], Awaitable[T]]:
    """As `asking`, for the client whose answers are awaited."""

    @wraps(making)
    async def method(self: AsksAsync, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.ask(making(*args, **kwargs))

    return method


def awaiting_pages(making: Callable[P, Call[list[T]]]) -> Callable[Concatenate[AsksAsync, P], AsyncIterator[T]]:
    """As `paging`, for the client whose answers are awaited."""

    @wraps(making)
    def method(self: AsksAsync, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self.pages(making(*args, **kwargs))

    return method
