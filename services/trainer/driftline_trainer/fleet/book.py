"""All edges that are known, by id: changed by who looks at the store, read by who answers. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from driftline.fleet.registration import Registration
from driftline_trainer.fleet.edge_record import EdgeRecord
from driftline_trainer.fleet.states import EdgeState
from driftline_trainer.fleet.version_view import EdgeModel, VersionView, versions_of, view


class FleetBook:
    """Bounded: `limit` edges at most.

    Every change has a revision, so that a reader who comes again gets what is new alone. Revisions begin with the time
    of the start in milliseconds: one of a former process is older than all of this one.
    """

    def __init__(self, limit: int, started: float) -> None:
        self._limit = limit
        self._records: dict[str, EdgeRecord] = {}
        self._changed: dict[str, int] = {}
        self._states: dict[str, EdgeState] = {}
        self._revision = int(started * 1000)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, edge: str) -> bool:
        return edge in self._records

    def __getitem__(self, edge: str) -> EdgeRecord:
        return self._records[edge]

    @property
    def room(self) -> int:
        """Edges that may still come."""
        return max(0, self._limit - len(self._records))

    @property
    def revision(self) -> int:
        """Of the newest change."""
        return self._revision

    def record(self, edge: str) -> EdgeRecord:
        """What is known of an edge; of a new one nothing."""
        return self._records.get(edge) or EdgeRecord(edge)

    def put(self, record: EdgeRecord) -> None:
        """A change that readers hear of."""
        self._revision += 1
        self._records[record.edge] = record
        self._changed[record.edge] = self._revision

    def note(self, record: EdgeRecord) -> None:
        """A change that concerns no reader."""
        if record.edge in self._records:
            self._records[record.edge] = record

    def register(self, edge: str, registration: Registration | None) -> None:
        """An edge that is registered no more, and was never heard, is none."""
        record = self.record(edge)
        if record.registration != registration:
            self.put(replace(record, registration=registration))
        if registration is None and record.first is None:
            self.forget(edge)

    def unheard(self, edge: str) -> None:
        """Its heartbeat was taken out of the store: what was heard of it is forgotten."""
        record = self._records.get(edge)
        if record is None:
            return
        if record.registration is None:
            self.forget(edge)
        elif record.first is not None:
            self.put(EdgeRecord(edge, registration=record.registration))

    def forget(self, edge: str) -> None:
        if self._records.pop(edge, None) is not None:
            self._revision += 1
            self._changed.pop(edge, None)
            self._states.pop(edge, None)

    def look(self, now: float) -> Mapping[str, EdgeState]:
        """The states by now; one that changes by the passing of time alone is a change, too."""
        for edge, record in self._records.items():
            state = record.state(now)
            if self._states.get(edge) != state:
                self._states[edge] = state
                self._revision += 1
                self._changed[edge] = self._revision
        return self._states

    def since(self, revision: int) -> Iterator[EdgeRecord]:
        """In the order of their ids those that have changed after `revision`."""
        for edge in sorted(self._records):
            if self._changed[edge] > revision:
                yield self._records[edge]

    def models(self, name: str) -> Sequence[EdgeModel]:
        """What every edge says of the model `<stream>.<member>`."""
        return [
            EdgeModel(edge, record.name, record.heartbeat.models[name])
            for edge, record in sorted(self._records.items())
            if record.heartbeat is not None and name in record.heartbeat.models
        ]

    def model_names(self) -> Sequence[str]:
        """Of all models that an edge speaks of."""
        return sorted(
            {name for record in self._records.values() if record.heartbeat for name in record.heartbeat.models}
        )

    def newest_version(self, name: str) -> VersionView | None:
        """Of a model, across edges."""
        models = self.models(name)
        versions = versions_of(models)
        return view(versions[0], models) if versions else None
