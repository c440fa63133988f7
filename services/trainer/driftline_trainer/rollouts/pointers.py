"""The pointers of models in the store, as they were read last. A move is one conditional put."""

from dataclasses import dataclass

from driftline.errors import NotFound
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer, Trial
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.versions.files import POINTER_LIMIT


@dataclass(frozen=True)
class Pointed:
    """A model's pointer as it was read. etag: for the next move."""

    stream: StreamDefinition
    member: str
    pointer: Pointer
    etag: str

    @property
    def model(self) -> tuple[str, str]:
        return self.stream.name, self.member

    @property
    def stages(self) -> tuple[str, ...]:
        return self.stream.rollout.stages_of(self.member)

    @property
    def newest(self) -> str:
        """The version on trial, or, without one, that for all."""
        trial = self.pointer.trial
        return trial.version if trial else self.pointer.version

    def stage(self, trial: Trial) -> str:
        """Its name, also where the definition has fewer stages by now."""
        return self.stages[min(trial.stage, len(self.stages) - 1)]


class Pointers:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._pointed: dict[tuple[str, str], Pointed] = {}

    def __getitem__(self, model: tuple[str, str]) -> Pointed:
        return self._pointed[model]

    def all(self) -> list[Pointed]:
        """By name."""
        return [self._pointed[model] for model in sorted(self._pointed)]

    async def read(self, stream: StreamDefinition, member: str) -> Pointed | None:
        """None where there is no version. Raises RefusedModel, TooLarge, StoreUnavailable."""
        known = self._pointed.get((stream.name, member))
        key = manifests.pointer_key(stream.name, member)
        try:
            stored = await self._store.get(key, unless=known.etag if known else None, limit=POINTER_LIMIT)
        except NotFound:
            return None
        if stored is None:
            return known
        pointer = manifests.decode(stored.body, Pointer, "pointer")
        at = self._pointed[stream.name, member] = Pointed(stream, member, pointer, stored.etag)
        return at

    async def move(self, at: Pointed, pointer: Pointer) -> Pointed:
        """Raises Conflict when somebody else has moved it."""
        key = manifests.pointer_key(*at.model)
        etag = await self._store.put(key, manifests.encode(pointer), if_match=at.etag)
        moved = self._pointed[at.model] = Pointed(at.stream, at.member, pointer, etag)
        return moved
