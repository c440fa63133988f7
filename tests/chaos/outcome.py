"""What a run found, whether that is right, and the table that says so. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.table import Table

from tests.chaos.archived import Archived
from tests.chaos.fleet import DISTURBED, Restart
from tests.chaos.published import Blends, Forecasts, Published
from tests.chaos.standstill import Watch

SHOWN = 10


@dataclass
class Outcome:
    """Everything that the verdict depends on."""

    seed: int
    phases: Sequence[tuple[str, float]]
    """Delivery and seconds of each."""
    pace: float
    """See `tests.chaos.plan.draw`."""
    acknowledged: np.ndarray
    forecasts: Forecasts
    blends: Blends
    windows: Archived
    results: Archived
    watches: Mapping[str, Watch]
    restarts: Sequence[Restart]
    acts: Counter[tuple[str, str]]
    swaps: int
    sent_again: int
    exactly_once_from: int | None = None
    """Tick from which on no name may come twice; None where exactly_once was not tried."""
    unready: Sequence[str] = ()
    """Services that were not ready at the end, and why."""
    places: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """Where missing records lie on their topic, as far as they are there."""

    @property
    def passed(self) -> bool:
        return not list(self.complaints())

    def complaints(self) -> Iterator[str]:
        """What is wrong, a line each."""
        yield from self._missing("forecast", self.forecasts)
        yield from self._missing("blend", self.blends)
        for what, found in (("forecast", self.forecasts), ("blend", self.blends)):
            if beyond := found.beyond(self.acknowledged):
                yield f"{beyond} {what} names that nobody sent: {', '.join(found.strange[:SHOWN])}"
            if found.differing:
                yield f"{len(found.differing)} {what} names came again and were not the same"
                yield from (f"  {what} {example}" for example in found.examples)
            if twice := self.repeats_in_exactly_once(found):
                yield f"{twice} {what} names came twice with exactly_once"
        if self.forecasts.unversioned_total:
            yield f"{self.forecasts.unversioned_total} forecasts do not name their models' versions"
            yield from (f"  {name}" for name in self.forecasts.unversioned)
        for archive in (self.windows, self.results):
            yield from archive.complaints(self.acknowledged)
        for watch in self.watches.values():
            yield from watch.complaints
        yield from (f"not ready at the end: {why}" for why in self.unready)
        if not int(self.acknowledged.sum()):
            yield "nothing was acknowledged"

    def repeats_in_exactly_once(self, found: Published) -> int:
        return 0 if self.exactly_once_from is None else found.repeated(self.exactly_once_from)

    def _missing(self, what: str, found: Published) -> Iterator[str]:
        count = found.lacks(self.acknowledged)
        if not count:
            return
        yield f"{count:,} of {int(self.acknowledged.sum()):,} acknowledged records have no {what}"
        for place, _ in zip(found.missing(self.acknowledged), range(SHOWN), strict=False):
            scene = found.scene
            where = self.places.get(place, "not on the records topic")
            yield f"  no {what} of {scene.stream.name}/{scene.name(place[0])}/{scene.t(place[1])}: {where}"


def first_missing(found: Sequence[Published], acknowledged: np.ndarray) -> set[tuple[int, int]]:
    """Places whose records are worth looking for."""
    return {place for each in found for place, _ in zip(each.missing(acknowledged), range(SHOWN), strict=False)}


def table(outcome: Outcome) -> Table:
    found = Table("what", "found", title=f"make chaos, seed {outcome.seed}", title_justify="left")
    for what, text in _rows(outcome):
        found.add_row(what, text)
    return found


def _rows(outcome: Outcome) -> Iterator[tuple[str, str]]:
    forecasts, blends, acknowledged = outcome.forecasts, outcome.blends, outcome.acknowledged
    yield "seed", str(outcome.seed)
    yield "seconds", f"{sum(seconds for _, seconds in outcome.phases):g}"
    yield "time between acts", f"{outcome.pace:.1f} times the usual"
    yield "delivery", ", ".join(f"{delivery} {seconds:g} s" for delivery, seconds in outcome.phases)
    for name in DISTURBED:
        done = {kind: count for (who, kind), count in sorted(outcome.acts.items()) if who == name}
        yield f"acts on {name}", ", ".join(f"{kind} {count}" for kind, count in done.items()) or "none"
    yield "acknowledged", f"{int(acknowledged.sum()):,} ({outcome.sent_again:,} requests sent again)"
    for what, published in (("forecasts", forecasts), ("blends", blends)):
        yield what, f"{published.names:,} names, {published.messages - published.names:,} repeats"
        yield f"{what} missing", f"{published.lacks(acknowledged):,}"
        yield f"{what} that differ", f"{len(published.differing):,}"
    yield "models", f"{outcome.swaps} swaps, {forecasts.versions} versions, {forecasts.unversioned_total} unnamed"
    for archive in (outcome.windows, outcome.results):
        yield (
            archive.kind,
            f"{archive.files:,}, {archive.lacks(acknowledged):,} rows missing, {archive.doubles:,} twice",
        )
    ended = Counter(restart.name for restart in outcome.restarts)
    yield "restarts nobody caused", ", ".join(f"{name} {count}" for name, count in sorted(ended.items())) or "none"
    still = max((watch.longest for watch in outcome.watches.values()), default=0.0)
    yield "longest standstill while green", f"{still:.0f} s"
    yield "longest recovery", f"{blends.waited:.1f} s from the door to the blend of {blends.slowest}"
    yield "verdict", "passed" if outcome.passed else "FAILED"
