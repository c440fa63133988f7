"""Where a roll-out is: what its edges found so far, and what it waits for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from driftline.fleet.evidence import (
    NOT_WORSE,
    NOTHING_WON,
    WORSE,
    EdgeReport,
    Pooled,
    Verdict,
    judge,
    pool,
    report_of,
    truths_needed,
)
from driftline.fleet.heartbeat import Heartbeat, model_name
from driftline.fleet.rollout import rank
from driftline.models.manifest import Pointer, Trial
from driftline.streams.model_sections import Rollout

BY_HAND = "it can be advanced by hand"


@dataclass(frozen=True)
class RolloutStanding:
    """everyone: the edges in the trial, or, without one, those that run the version; newcomers: those of them that came
    in with the stage that runs; went_back: by edge why. waits: a sentence, empty where it waits for nothing."""

    everyone: Pooled
    newcomers: Pooled
    went_back: Mapping[str, str]
    verdict: Verdict
    waits: str

    @property
    def why(self) -> str:
        """The verdict in words."""
        pooled = self.everyone if self.verdict == "worse" else self.newcomers
        edges = f"{pooled.reporting} of {_edges(pooled.edges)}, {pooled.truths} truths"
        if self.verdict == "worse":
            return f"worse: evidence {pooled.worse:.0f} of {WORSE:.0f}, of {edges}{self._left}"
        return f"not worse: evidence {pooled.not_worse:.3g} of {NOT_WORSE:.0f}, of {edges}{self._left}"

    @property
    def _left(self) -> str:
        return "".join(f"; {edge} went back: {why}" for edge, why in list(self.went_back.items())[:3])


def of_trial(
    rollout: Rollout,
    pointer: Pointer,
    trial: Trial,
    model: tuple[str, str],
    heartbeats: Mapping[str, Heartbeat],
    ranks: Mapping[str, float],
    now: float,
) -> RolloutStanding:
    """ranks: of the edges that are counted on, by id; others count with what they have said."""
    reports = [
        report
        for edge, heartbeat in heartbeats.items()
        if (report := _report(pointer, trial, model, heartbeat, ranks.get(edge))) is not None
    ]
    everyone, newcomers = pool(reports), pool(report for report in reports if report.newcomer)
    held_for = now - trial.since
    verdict = judge(everyone, newcomers, evidence=rollout.evidence, held=held_for >= rollout.hold)
    waits = "" if verdict != "waits" else _waits(rollout, newcomers, held_for)
    if trial.paused and verdict != "worse":
        verdict, waits = "waits", f"paused; {waits or 'its edges say: not worse'}"
    return RolloutStanding(everyone, newcomers, _went_back(reports), verdict, waits)


def of_all(pointer: Pointer, model: tuple[str, str], heartbeats: Mapping[str, Heartbeat]) -> RolloutStanding:
    """Of the version that every edge should run: whether it has turned out to be worse than the one before it."""
    name = model_name(*model)
    reports = [
        report
        for heartbeat in heartbeats.values()
        if (report := report_of(heartbeat, name, pointer.version, None)).says_something
        or (name in heartbeat.models and heartbeat.models[name].version == pointer.version)
    ]
    everyone = pool(reports)
    verdict: Verdict = "worse" if everyone.is_worse else "waits"
    return RolloutStanding(everyone, everyone, _went_back(reports), verdict, "")


def _report(
    pointer: Pointer, trial: Trial, model: tuple[str, str], heartbeat: Heartbeat, its_rank: float | None
) -> EdgeReport | None:
    report = report_of(heartbeat, model_name(*model), trial.version, pointer.version)
    if its_rank is None and report.says_something:
        its_rank = rank(heartbeat.edge, trial.version, heartbeat.labels, trial.first)
    if its_rank is None or (its_rank >= trial.below and not report.says_something):
        return None
    is_newcomer = trial.entered <= its_rank < trial.below
    return EdgeReport(report.edge, report.comparison, report.went_back, newcomer=is_newcomer)


def _went_back(reports: list[EdgeReport]) -> dict[str, str]:
    return {report.edge: report.went_back for report in reports if report.went_back is not None}


def _waits(rollout: Rollout, newcomers: Pooled, held_for: float) -> str:
    if not newcomers.edges:
        return f"waits for an edge of this stage: none was heard for a day; {BY_HAND}"
    needed = truths_needed(newcomers, rollout.evidence)
    if newcomers.truths < needed:
        missing = f"waits for {needed - newcomers.truths} of {needed} truths of {_edges(newcomers.edges)}"
        return f"{missing}; {BY_HAND}"
    open_evidence = (
        f"evidence that it is worse {newcomers.worse:.3g} of {WORSE:.0f}, "
        f"that it is not {newcomers.not_worse:.3g} of {NOT_WORSE:.0f}"
    )
    if newcomers.over and newcomers.worse > NOTHING_WON:
        return f"the edges have nothing more to compare ({open_evidence}): advance or abort it by hand"
    if newcomers.not_worse < NOT_WORSE and not newcomers.over:
        return f"waits for evidence ({open_evidence}); {BY_HAND}"
    return f"holds for another {max(0.0, rollout.hold - held_for):.0f} s; {BY_HAND}"


def _edges(count: int) -> str:
    return "1 edge" if count == 1 else f"{count} edges"
