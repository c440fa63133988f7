"""Asks the trainer for a new speed model when alerts say that the forecasts need one.

It reads the alerts topic as a consumer group of its own, and moves on only when the trainer has taken a request: while
the trainer is away, and across restarts, none is lost.
"""

import logging
import ssl
from collections.abc import Callable, Generator, Mapping, Sequence

import httpx
import msgspec
import stamina

from driftline.bus.port import Assignment, Envelope
from driftline.errors import Unavailable
from driftline.messages import Alert

log = logging.getLogger(__name__)

TRIGGERS = ("drift", "negative-skill")
"""Kinds of alerts that a new model may end."""
REFUSED = (400, 404, 409, 413, 422)
"""Answers after which asking again is no use."""
TIMEOUT_S = 30.0


class RetrainRequest(msgspec.Struct, frozen=True):
    """A speed model that is asked for. Fields as in the trainer's `POST /v1/jobs`."""

    stream: str
    trigger: str
    member: str = "speed"


class RetrainStep:
    """See `driftline.worker.step.Step`; what it returns are requests, each once a call."""

    def step(self, batch: Sequence[Envelope[Alert]]) -> list[RetrainRequest]:
        alerts = [envelope.value for envelope in batch]
        return list(
            dict.fromkeys(RetrainRequest(alert.stream, alert.kind) for alert in alerts if alert.kind in TRIGGERS)
        )

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        """There is no state but the position."""

    def begin(self, assignment: Assignment) -> bool:  # noqa: ARG002
        return False

    def begin_again(self, partition: int, position: int) -> None:
        """There is no state but the position."""

    def replay(self, batch: Sequence[Envelope[Alert]]) -> None:
        """There is no state but the position."""

    def begin_round(self, partition: int, restart: int) -> dict[str, bytes]:  # noqa: ARG002
        return {}

    def left(self, partition: int) -> int:  # noqa: ARG002
        return 0

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:  # noqa: ARG002
        return {}

    def unsaved(self, partition: int) -> int:  # noqa: ARG002
        return 0

    def resume_at(self, partition: int, consumed: int) -> int:  # noqa: ARG002
        return consumed

    def release(self, partition: int) -> bool:  # noqa: ARG002
        return False


class TrainerAwayError(Unavailable):
    """The trainer did not take a request."""


class TrainerSink:
    """Returns from a call when the trainer has taken every request, however long that takes."""

    def __init__(self, trainer: httpx.AsyncClient) -> None:
        self._trainer = trainer

    async def __call__(self, requests: Sequence[RetrainRequest]) -> None:
        # A batch may have been worked off in parts, of which each asks once.
        for request in dict.fromkeys(requests):
            await self._ask(request)

    @stamina.retry(on=TrainerAwayError, attempts=None, timeout=None, wait_max=30.0)
    async def _ask(self, request: RetrainRequest) -> None:
        extra = {"stream": request.stream, "trigger": request.trigger}
        try:
            answer = await self._trainer.post("/v1/jobs", json=msgspec.to_builtins(request))
        except httpx.HTTPError as error:
            raise TrainerAwayError(f"{type(error).__name__}: {error}") from error
        if answer.status_code in REFUSED:
            log.error("the trainer refused a request for good: %s", answer.text[:300], extra=extra)
        elif answer.is_error:
            # A wrong token, too, can be corrected there: nothing is lost meanwhile.
            raise TrainerAwayError(f"the trainer answered {answer.status_code}: {answer.text[:300]}")
        else:
            log.info("a new speed model was asked for", extra=extra)


class BearerAuth(httpx.Auth):
    """Shows what `token` gives at each request; None for nothing."""

    def __init__(self, token: Callable[[], str | None]) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        if (token := self._token()) is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        yield request


def open_trainer(url: str, token: Callable[[], str | None], tls: ssl.SSLContext) -> httpx.AsyncClient:
    """A client for the trainer at `url`. token: what it shows there, which may change."""
    return httpx.AsyncClient(base_url=url, auth=BearerAuth(token), timeout=TIMEOUT_S, verify=tls)
