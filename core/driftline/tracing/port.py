"""What services know of traces."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from starlette.types import ASGIApp

from driftline.messages import Observation, Record
from driftline.worker.step_spans import StepSpans

R = TypeVar("R", bound=Record | Observation)


class Tracing(Protocol):
    """The traces of one service. None in its place: there are none."""

    def requests(self, app: ASGIApp, paths: Collection[str]) -> ASGIApp:
        """The same app, whose POST requests to these paths are spans, of the trace that the sender names."""

    def publishing(self, topic: str, records: Sequence[R]) -> AbstractContextManager[Sequence[R]]:
        """A span while records are published. Gives them as they are to be published: those that are followed say so.
        Of very many only the first are followed."""

    def steps(self, topic: str) -> StepSpans:
        """Of a worker that reads this topic."""

    async def close(self) -> None:
        """Sends what was not sent yet, as far as that is possible soon."""
