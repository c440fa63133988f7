"""A trainer's door on this machine, and devices that join by it."""

import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from pydantic import SecretStr

from driftline.fleet.notes import sealed
from driftline.fleet.registration import JoinRequest, RotationRequest, bearer_of, digest_of
from driftline.models.signing import Signer, new_key
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline_trainer.app import create_app
from driftline_trainer.fleet_door.policy import Policy, refusal
from driftline_trainer.settings import TrainerSettings
from tests.security.authority import Authority
from tests.serving import served

TOKEN = "hush-hush"  # noqa: S105 - a test's


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Device:
    """A key, and a secret that only it knows."""

    key: Signer = field(default_factory=lambda: Signer(new_key()))
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    edge: str = ""

    @property
    def shown(self) -> str:
        return bearer_of(self.edge, self.secret)

    def request(self, token: str, **other: Any) -> bytes:
        """To join, signed."""
        asked = {
            "token": digest_of(token),
            "public_key": self.key.public,
            "credential": digest_of(self.secret),
            "name": "attic",
        }
        return sealed(JoinRequest(**{**asked, **other}), self.key)

    def rotation(self, new: str, **other: Any) -> bytes:
        asked = {"edge": self.edge, "former": digest_of(self.secret), "credential": digest_of(new)}
        return sealed(RotationRequest(**{**asked, **other}), self.key)


class Cloud:
    """Where it listens, with what settings, on what store."""

    def __init__(
        self, url: str, store: FolderStore, settings: TrainerSettings, authority: Authority | None = None
    ) -> None:
        self._trusted: ssl.SSLContext | bool = ssl.create_default_context(cafile=authority.file) if authority else True
        self.url = url
        self.store = store
        self.settings = settings

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        folder: Path,
        stream: StreamDefinition,
        policy: Policy = refusal,
        authority: Authority | None = None,
        **settings: Any,
    ) -> AsyncIterator[Self]:
        """authority: who signs its certificate; without one its door is open by plain HTTP."""
        given = {
            "store": str(folder / "store"),
            "streams": folder / "streams",
            "token": SecretStr(TOKEN),
            "signing_key": SecretStr(new_key()),
            "fleet_key_file": folder / "fleet" / "key",
            "data_dir": folder,
        }
        chosen = TrainerSettings(**{**given, **settings})
        store = FolderStore(folder / "store")
        app = create_app(chosen, store, streams={stream.name: stream}, policy=policy, on_death=lambda *_: None)
        async with served(app, authority=authority) as address:
            yield cls(f"{'https' if authority else 'http'}://{address}", store, chosen, authority)

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, headers=bearer(token) if token else {}, timeout=20, verify=self._trusted
        )

    async def token(self, **asked: Any) -> str:
        async with self.client(TOKEN) as client:
            answer = await client.post("/v1/fleet/tokens", json=asked)
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    async def ask(self, token: str, body: bytes) -> httpx.Response:
        """To join."""
        async with self.client(token) as client:
            return await client.post("/v1/fleet/join", content=body)

    async def joined(self, **asked: Any) -> Device:
        """A device that is one of the fleet. asked: of its token."""
        device, token = Device(), await self.token(**asked)
        answer = await self.ask(token, device.request(token))
        assert answer.status_code == 200, answer.text
        device.edge = answer.json()["edge"]
        return device
