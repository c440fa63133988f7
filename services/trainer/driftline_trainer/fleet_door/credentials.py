"""Whoever asks at the edges' door: a dependency that gives the device, and how much one device may ask at once."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from fastapi import HTTPException, Request

from driftline.errors import Unavailable
from driftline.fleet.registration import Registration
from driftline.service.auth import READ
from driftline_trainer.fleet_door.edges import STRANGER, Edges


async def shown(request: Request) -> str:
    """The bearer token of a request. Raises HTTPException(401) where there is none."""
    given = await READ(request)
    if given is None or not given.credentials:
        raise HTTPException(401, STRANGER)
    return str(given.credentials)


def device(edges: Edges) -> Callable[[Request], Awaitable[Registration]]:
    """A dependency: the device whose credential the request carries."""

    async def admitted(request: Request) -> Registration:
        return await edges.admitted(await shown(request))

    return admitted


class Turns:
    """How many requests of each device are being answered."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._now: Counter[str] = Counter()

    @contextmanager
    def turn(self, edge: str) -> Iterator[None]:
        """Raises Unavailable for one too many."""
        if self._now[edge] >= self._at_once:
            raise Unavailable(f"found {self._at_once} requests of edge {edge} at once, expected fewer; try again later")
        self._now[edge] += 1
        try:
            yield
        finally:
            self._now[edge] -= 1
            if not self._now[edge]:
                del self._now[edge]
