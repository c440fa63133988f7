"""The fleet's REST door: all edges, one edge, one version across edges. Nothing here changes anything."""

from collections.abc import Callable, Iterable
from typing import Annotated

from fastapi import APIRouter, Query

from driftline.errors import InvalidInput, NotFound
from driftline_trainer.fleet.answers import (
    EdgeAnswer,
    FleetAnswer,
    VersionAnswer,
    VersionSummary,
    edge_answer,
    edge_summary,
    fleet_summary,
    version_answer,
    version_summary,
)
from driftline_trainer.fleet.book import FleetBook
from driftline_trainer.fleet.edge_record import EdgeRecord
from driftline_trainer.fleet.states import EdgeState
from driftline_trainer.fleet.version_view import versions_of, view

Labels = Annotated[
    list[str],
    Query(description="only edges with all of these, each `name=value`", examples=["site=north"]),
]
States = Annotated[list[EdgeState], Query(description="only edges in one of these states")]
After = Annotated[
    int, Query(description="only edges that have changed after this revision; the summary is of all", ge=0)
]


def routes(book: FleetBook, clock: Callable[[], float]) -> APIRouter:
    router = APIRouter(tags=["fleet"])

    @router.get(
        "/v1/fleet",
        summary="All edges in short",
        description="The newest believable heartbeat of each edge, and whether it is live (heard within two of its "
        "intervals), late (within five) or silent.",
        responses={422: {}},
    )
    async def fleet(label: Labels = [], state: States = [], after: After = 0) -> FleetAnswer:  # noqa: B006
        now = clock()
        book.look(now)
        wanted = _pairs(label)
        # A revision of another process says nothing of this one's.
        since = after if after <= book.revision else 0
        chosen = [record for record in book.since(since) if _matches(record, wanted, state, now)]
        return FleetAnswer(
            now=now,
            revision=book.revision,
            whole=not since,
            summary=fleet_summary(list(book.since(0)), now),
            edges=[edge_summary(record, now) for record in chosen],
        )

    @router.get("/v1/fleet/edges/{edge}", summary="Everything about one edge", responses={404: {}})
    async def one_edge(edge: str) -> EdgeAnswer:
        if edge not in book:
            raise NotFound(f"found no edge {edge!r}, expected the id of one of {len(book)}: see GET /v1/fleet")
        return edge_answer(book[edge], clock())

    _add_version_routes(router, book)
    return router


def _add_version_routes(router: APIRouter, book: FleetBook) -> None:
    @router.get(
        "/v1/fleet/versions/{model}",
        summary="The versions of a model across edges, the newest first",
        description="`model` is `<stream>.<member>`.",
        responses={404: {}},
    )
    async def versions(model: str) -> list[VersionSummary]:
        models = book.models(model)
        if not models:
            raise NotFound(f"found no model {model!r}, expected one of {list(book.model_names())}")
        return [version_summary(view(version, models)) for version in versions_of(models)]

    @router.get(
        "/v1/fleet/versions/{model}/{version}",
        summary="One version across edges",
        description="`version` may be cut after its number, as `v000042`.",
        responses={404: {}, 422: {}},
    )
    async def one_version(model: str, version: str) -> VersionAnswer:
        models = book.models(model)
        if not models:
            raise NotFound(f"found no model {model!r}, expected one of {list(book.model_names())}")
        return version_answer(model, view(_whole_name(version, versions_of(models)), models))


def _whole_name(version: str, known: list[str]) -> str:
    """Of a version that may be cut. Raises NotFound, and InvalidInput for one that could be several."""
    meant = [name for name in known if name == version] or [name for name in known if name.startswith(f"{version}-")]
    if not meant:
        raise NotFound(f"found no version {version!r} on any edge, expected one of {known[:5]}")
    if len(meant) > 1:
        raise InvalidInput(f"found version {version!r}, expected one of {meant}")
    return meant[0]


def _pairs(labels: Iterable[str]) -> dict[str, str]:
    """Raises InvalidInput."""
    pairs = {}
    for label in labels:
        name, is_pair, value = label.partition("=")
        if not is_pair or not name:
            raise InvalidInput(f"label: found {label!r}, expected name=value")
        pairs[name] = value
    return pairs


def _matches(record: EdgeRecord, labels: dict[str, str], states: list[EdgeState], now: float) -> bool:
    if states and record.state(now) not in states:
        return False
    return all(record.labels.get(name) == value for name, value in labels.items())
