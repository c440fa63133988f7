"""Where services are, how they are asked, and when they are asked again: the same for both clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from driftline_client.calls.call import Call, Reply, Service
from driftline_client.errors import Busy, NoAnswer

PORTS: Final[Mapping[Service, int]] = {"ingest": 8001, "inference": 8002, "combiner": 8003, "trainer": 8004}
"""By service the port that it listens on unless it is configured otherwise."""
TIMEOUT_S: Final = 30.0
PATIENCE_S: Final = 30.0
QUIET_S: Final = 90.0
"""Of a live connection, in which a service sends a sign of life every few seconds."""
UNREACHABLE: Final = (httpx.RequestError, httpx.InvalidURL)
"""What httpx raises where nobody answers, or where no address is what should be one."""
RECONNECT_S: Final = 1.0
"""Between a live connection that is lost and the next."""


@dataclass(frozen=True)
class Connection:
    """urls: by service its address. token: of all of them, None where they ask for none. timeout: seconds for one
    answer. patience: seconds in which a request that may be repeated is tried again; 0 for none."""

    urls: Mapping[Service, str]
    token: str | None = None
    timeout: float = TIMEOUT_S
    patience: float = PATIENCE_S

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """What httpx makes a request of."""
        return {
            "method": call.method,
            "url": self.url(call.service, call.path),
            # With any at all httpx would leave out those of a further page.
            "params": list(call.query) or None,
            "content": call.content,
            "headers": {**self.headers, **call.headers},
        }

    @property
    def live_timeout(self) -> httpx.Timeout:
        return httpx.Timeout(self.timeout, read=QUIET_S)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def url(self, service: Service, path: str) -> str:
        """path: also a whole address, of a further page."""
        return path if "://" in path else self.urls[service].rstrip("/") + path

    def retries(self, call: Call[Any]) -> dict[str, Any]:
        """Of stamina."""
        if not call.is_repeatable or not self.patience:
            return {"on": NoAnswer, "attempts": 1, "timeout": None}
        return {"on": self._pause, "attempts": None, "timeout": self.patience, "wait_initial": 0.2, "wait_max": 5.0}

    def _pause(self, error: Exception) -> bool | float:
        """Whether trying again may help, and after how many seconds where the service says so."""
        if isinstance(error, Busy) and error.retry_after is not None:
            return error.retry_after if error.retry_after <= self.patience else False
        return isinstance(error, Busy | NoAnswer)


def urls_of(host: str, **given: str | None) -> dict[Service, str]:
    """The usual ports of a host, but for the addresses that are given."""
    return {service: given.get(service) or f"http://{host}:{port}" for service, port in PORTS.items()}


def reply_of(answer: httpx.Response, service: Service) -> Reply:
    following = answer.links.get("next", {}).get("url")
    return Reply(
        service,
        answer.status_code,
        answer.content,
        answer.headers.get("Retry-After"),
        str(answer.url.join(following)) if following else None,
        answer.headers.get("Date"),
    )


def no_answer(url: str, error: Exception) -> NoAnswer:
    # A timeout of httpx's has no text.
    return NoAnswer(url, str(error) or type(error).__name__)
