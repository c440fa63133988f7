"""Edges as a trainer sees them: heartbeats in the store, written by hand."""

from collections.abc import Sequence
from itertools import count

import msgspec

from driftline.fleet.heartbeat import Comparison, Heartbeat, ModelHealth
from driftline.fleet.names import heartbeat_key
from driftline.fleet.notes import sealed
from driftline.models import manifest as manifests
from driftline.models.manifest import Golden, Manifest, Pointer, Trial
from driftline.models.signing import Signer
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline.versions.releases import current, release
from driftline_trainer.rollouts.trials import Trials, at_once

NUMBERS = count(1)
"""Of heartbeats: each is newer than all before."""

WORSE, FINE = (8.0, -20.0), (-20.0, 8.0)
"""Logarithms of the evidence on both sides."""


class Fleet:
    """Writes what edges say, and publishes versions to them. The clock is the trainer's."""

    def __init__(self, store: FolderStore, stream: StreamDefinition, signer: Signer | None, member: str) -> None:
        self.store = store
        self.stream = stream
        self.signer = signer
        self.member = member
        self.now = 1e9

    def clock(self) -> float:
        return self.now

    async def pointer(self) -> Pointer:
        stored = await self.store.get(manifests.pointer_key(self.stream.name, self.member))
        return manifests.decode(stored.body, Pointer, "pointer")

    async def trial(self) -> Trial:
        pointer = await self.pointer()
        assert pointer.trial is not None
        return pointer.trial

    async def publish(self, number: int, trials: Trials | None = None) -> str:
        """A version whose model is no model, which no trainer minds."""
        before = await current(self.store, self.stream.name, self.member)
        model = bytes([number])
        stream = self.stream

        def describe(version: str) -> Manifest:
            return Manifest(
                version=version,
                stream=stream.name,
                member=self.member,
                sha256=manifests.digest(model),
                size=1,
                parent=None,
                definition=stream.fingerprint,
                input_shape=(-1, 1),
                output_shape=(-1, 1),
                horizon=stream.horizon,
                architecture="mlp",
                trained_from=0,
                trained_to=0,
                rows=0,
                metrics={},
                golden=Golden([], []),
                libraries={},
                created="2026-01-01T00:00:00+00:00",
            )

        published = await release(
            self.store,
            stream.name,
            self.member,
            model,
            describe,
            signer=self.signer,
            before=before,
            now=self.now,
            trial=await trials.of(stream, self.member, before) if trials else at_once,
        )
        return published.version

    async def say(
        self,
        edge: str,
        version: str | None = None,
        *,
        compared: Sequence[tuple[str, str, int, tuple[float, float]]] = (),
        went_back: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        at: float | None = None,
    ) -> None:
        """compared: new and old version, truths, and the logarithms of the evidence."""
        comparisons = [
            Comparison(
                new=new, old=old, truths=truths, log_worse=worse, log_not_worse=fine, over=truths >= 2000 or worse > 7
            )
            for new, old, truths, (worse, fine) in compared
        ]
        health = ModelHealth(version=version, comparisons=comparisons, rolled_back=went_back or {})
        heartbeat = Heartbeat(
            edge=edge,
            name=edge,
            labels=labels or {},
            boot="b",
            number=next(NUMBERS),
            started=self.now,
            at=self.now if at is None else at,
            every=60.0,
            software="1",
            models={f"{self.stream.name}.{self.member}": health},
        )
        await self.store.put(heartbeat_key(edge), sealed(heartbeat, None))

    async def lie(self, edge: str, **fields: float) -> None:
        """A heartbeat in which every number of every comparison is `fields`."""
        payload = msgspec.json.decode((await self.store.get(heartbeat_key(edge))).body)
        for health in payload["note"]["models"].values():
            for comparison in health["comparisons"]:
                comparison.update(fields)
        await self.store.put(heartbeat_key(edge), msgspec.json.encode(payload))
