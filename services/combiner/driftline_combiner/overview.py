"""What the dashboard asks of the other services, so that a browser needs to reach the combiner alone."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

TIMEOUT_S = 3.0


class ServiceHealth(msgspec.Struct, frozen=True):
    """`state`: ready, not ready (with what is missing), or away."""

    name: str
    state: str
    detail: str = ""


class Overview:
    """urls: by service name where it listens; services without one are left out."""

    def __init__(self, urls: Mapping[str, str], client: httpx.AsyncClient) -> None:
        self._urls = urls
        self._client = client

    async def services(self) -> list[ServiceHealth]:
        return list(await asyncio.gather(*(self._health(name, url) for name, url in self._urls.items())))

    async def models(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """What inference says of its edge and its models; nothing while it is away."""
        if "inference" not in self._urls:
            return None, []
        try:
            answer = await self._client.get(f"{self._urls['inference']}/v1/models", timeout=TIMEOUT_S)
            body: dict[str, Any] = answer.raise_for_status().json()
            return body["edge"], body["models"]
        except (httpx.HTTPError, ValueError, KeyError):
            return None, []

    async def _health(self, name: str, url: str) -> ServiceHealth:
        try:
            answer = await self._client.get(f"{url}/readyz", timeout=TIMEOUT_S)
            checks: dict[str, str] = answer.json()["checks"]
        except httpx.HTTPError:
            return ServiceHealth(name, "away", f"no answer at {url}")
        except (ValueError, KeyError):
            return ServiceHealth(name, "away", f"what answers at {url} is no service of ours")
        missing = "; ".join(f"{check}: {state}" for check, state in checks.items() if state != "ok")
        return ServiceHealth(name, "ready" if answer.is_success else "not ready", missing)
