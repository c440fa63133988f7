"""What a device asks of the cloud's door: to join, what it works with, and another credential."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

import httpx
import msgspec

from driftline.errors import Conflict, InvalidInput, NotAdmitted, NotAllowed, Unavailable
from driftline.fleet.notes import sealed
from driftline.fleet.registration import JoinAnswer, JoinRequest, Provision, RotationRequest
from driftline.models.signing import Signer
from driftline.store.door import client_of, why_no_answer

TIMEOUT_S = 20.0
ANSWER_LIMIT = 1024 * 1024
"""Bytes of an answer at most."""

T = TypeVar("T")


class CloudDoor:
    """The door at `url`. Every call raises Unavailable while it does not answer, NotAdmitted where it knows nobody who
    shows that, NotAllowed and Conflict where it refuses, and InvalidInput for what it does not understand."""

    def __init__(self, url: str, ca_file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.url = url
        self._ca_file = ca_file
        self._clock = clock
        self._client = client_of(url, ca_file, TIMEOUT_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def join(self, token: str, request: JoinRequest, signer: Signer) -> JoinAnswer:
        return _read(JoinAnswer, self.url, await self._ask("POST", "/v1/fleet/join", token, sealed(request, signer)))

    async def provision(self, credential: str) -> Provision:
        return _read(Provision, self.url, await self._ask("GET", "/v1/fleet/provision", credential))

    async def rotate(self, credential: str, request: RotationRequest, signer: Signer) -> None:
        await self._ask("POST", "/v1/fleet/rotate", credential, sealed(request, signer))

    async def _ask(self, method: str, path: str, token: str, content: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            async with self._client.stream(method, path, headers=headers, content=content) as answer:
                body = await _bounded(answer)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.url}: {why_no_answer(error, self._ca_file, self._clock())}") from error
        if not answer.is_success:
            raise _error(answer.status_code, f"{self.url}: {_detail(answer, body)}")
        return body


def _read(kind: type[T], url: str, body: bytes) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{url}: found no {kind.__name__}, expected the trainer's address") from error


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > ANSWER_LIMIT:
            raise InvalidInput(f"{answer.url.host}: found an answer without an end, expected the trainer's address")
    return bytes(body)


def _detail(answer: httpx.Response, body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["detail"])[:500]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return f"the answer was {answer.status_code}, expected the trainer's address"


def _error(status: int, sentence: str) -> Exception:
    kinds: dict[int, type[Exception]] = {401: NotAdmitted, 403: NotAllowed, 409: Conflict}
    if status in kinds:
        return kinds[status](sentence)
    return Unavailable(sentence) if status >= httpx.codes.INTERNAL_SERVER_ERROR else InvalidInput(sentence)
