"""One version of a model across edges: where it serves, how it does against the one before, who went back. Pure.

An edge's Comparison holds two logarithms of evidence (e-values). Pooled over edges, the evidence is the arithmetic mean
of theirs, which is valid whatever the edges have in common (Vovk and Wang, "E-values: Calibration, combination and
applications", Annals of Statistics 2021, section 3).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Literal

from driftline.fleet.heartbeat import Comparison, ModelHealth

WORSE = log(1000)
"""Evidence on which an edge rolls back."""
BETTER = log(20)
"""Evidence of being no worse that counts as better than the former."""

Verdict = Literal["better", "worse", "open"]


@dataclass(frozen=True, slots=True)
class EdgeModel:
    """What one edge says of one model."""

    edge: str
    name: str
    model: ModelHealth


@dataclass(frozen=True, slots=True)
class VersionOnEdge:
    """One version on one edge. rolled_back, refused: why, where it was."""

    edge: str
    name: str
    serves: bool
    since: float | None
    former: str | None
    truths: int
    verdict: Verdict | None
    rolled_back: str | None
    refused: str | None


@dataclass(frozen=True, slots=True)
class VersionView:
    """A version across edges. edges: that serve it; truths: of all their comparisons with the former.

    log_worse, log_not_worse: logarithms of the pooled evidence; None where nobody compared.
    """

    version: str
    edges: int
    truths: int
    better: int
    worse: int
    compared: int
    rolled_back: int
    refused: int
    log_worse: float | None
    log_not_worse: float | None
    rows: tuple[VersionOnEdge, ...]

    @property
    def sentence(self) -> str:
        """For people."""
        short = self.version.partition("-")[0]
        parts = [f"{self.edges:,} {'edge' if self.edges == 1 else 'edges'}", f"{self.truths:,} truths"]
        parts += [f"better on {self.better:,}"] if self.compared else []
        parts += [f"worse on {self.worse:,}"] if self.worse else []
        parts += [f"rolled back on {self.rolled_back:,}"] if self.rolled_back else []
        return f"{short}: {', '.join(parts)}"


def versions_of(models: Sequence[EdgeModel]) -> list[str]:
    """Every version that an edge serves, compares, went back from or refused, the newest first."""
    named = {version for on_edge in models for version in _named(on_edge.model)}
    return sorted(named, reverse=True)


def view(version: str, models: Iterable[EdgeModel]) -> VersionView:
    """models: of all edges, of one name."""
    pairs = [(_on_edge(version, on_edge), _compared(version, on_edge.model)) for on_edge in models]
    rows = [row for row, _ in pairs if row is not None]
    comparisons = [comparison for _, comparison in pairs if comparison is not None]
    return VersionView(
        version=version,
        edges=sum(row.serves for row in rows),
        truths=sum(row.truths for row in rows),
        better=sum(row.verdict == "better" for row in rows),
        worse=sum(row.verdict == "worse" for row in rows),
        compared=sum(row.verdict is not None for row in rows),
        rolled_back=sum(row.rolled_back is not None for row in rows),
        refused=sum(row.refused is not None for row in rows),
        log_worse=pooled([comparison.log_worse for comparison in comparisons]),
        log_not_worse=pooled([comparison.log_not_worse for comparison in comparisons]),
        rows=tuple(rows),
    )


def pooled(logs: Sequence[float]) -> float | None:
    """The logarithm of the mean of the e-values whose logarithms are given; None of none."""
    if not logs:
        return None
    largest = max(logs)
    return largest + log(sum(exp(value - largest) for value in logs) / len(logs))


def _named(model: ModelHealth) -> set[str]:
    compared = {comparison.new for comparison in model.comparisons}
    served = {model.version} if model.version is not None else set()
    return {*served, *compared, *model.rolled_back, *model.refused}


def _compared(version: str, model: ModelHealth) -> Comparison | None:
    return next((comparison for comparison in reversed(model.comparisons) if comparison.new == version), None)


def _on_edge(version: str, on_edge: EdgeModel) -> VersionOnEdge | None:
    """None where it has nothing to do with this version."""
    model, comparison = on_edge.model, _compared(version, on_edge.model)
    serves = model.version == version
    rolled_back, refused = model.rolled_back.get(version), model.refused.get(version)
    if not serves and comparison is None and rolled_back is None and refused is None:
        return None
    return VersionOnEdge(
        edge=on_edge.edge,
        name=on_edge.name,
        serves=serves,
        since=model.since if serves else None,
        former=comparison.old if comparison is not None else model.former if serves else None,
        truths=comparison.truths if comparison is not None else 0,
        verdict=_verdict(comparison, rolled_back),
        rolled_back=rolled_back,
        refused=refused,
    )


def _verdict(comparison: Comparison | None, rolled_back: str | None) -> Verdict | None:
    """None where nothing was compared."""
    if rolled_back is not None:
        return "worse"
    if comparison is None:
        return None
    if comparison.log_worse >= WORSE:
        return "worse"
    return "better" if comparison.log_not_worse >= BETTER else "open"
