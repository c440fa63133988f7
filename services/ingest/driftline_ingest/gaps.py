"""What had to be dropped before it reached the store, in a few spans of time per stream, however much it was. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from driftline.clock import shown
from driftline.messages import Alert, Gap

SPANS = 5
"""Of a stream and kind; with more, the oldest two become one."""
CLOSE_MS = 86_400_000
"""Spans that are no further apart are one."""


class Gaps:
    """Takes up those that were `known` before."""

    def __init__(self, known: Iterable[Gap] = ()) -> None:
        self._spans: dict[tuple[str, str], list[Gap]] = defaultdict(list)
        for gap in known:
            self._spans[gap.stream, gap.what].append(gap)

    def add(self, gap: Gap) -> bool:
        """Returns whether it begins a span of its own."""
        spans = self._spans[gap.stream, gap.what]
        near = next((index for index, span in enumerate(spans) if _are_near(span, gap)), None)
        if near is not None:
            spans[near] = _joined(spans[near], gap)
            return False
        spans.append(gap)
        spans.sort(key=lambda span: span.since)
        if len(spans) > SPANS:
            spans[:2] = [_joined(*spans[:2])]
        return True

    def __iter__(self) -> Iterator[Gap]:
        return (gap for spans in self._spans.values() for gap in spans)

    def newest(self, count: int) -> Sequence[Gap]:
        """The newest last."""
        return sorted(self, key=lambda gap: (gap.until, gap.stream, gap.what))[-count:]


def _are_near(span: Gap, gap: Gap) -> bool:
    return gap.since <= span.until + CLOSE_MS and gap.until >= span.since - CLOSE_MS


def _joined(span: Gap, gap: Gap) -> Gap:
    since, until = min(span.since, gap.since), max(span.until, gap.until)
    return replace(span, since=since, until=until, count=span.count + gap.count)


def alert_of(gap: Gap) -> Alert:
    """What is said when a gap begins; how it goes on is in the heartbeats."""
    detail = (
        f"{gap.count} rows of {gap.what} and more, from {shown(gap.since / 1000)} on, had to be dropped before they "
        "reached the store"
    )
    return Alert(gap.stream, "", gap.until, "lost", gap.what, detail)
