"""Which windows were learned from: of each feed the newest, as manifests name it."""

from collections.abc import Mapping

from driftline.store.windows import parse
from driftline_trainer.window_index import FEEDS

Learned = Mapping[str, str]
"""By feed the key of the newest window that was learned from. A feed is windows/<source>/<key>, where its windows are
named by offsets, and windows/<source>/<key>/<edge> where by times."""
OLDEST = (False, -1, -1, "")


def order_of(key: str) -> tuple[bool, int, int, str]:
    """A window's order in time; what is no window's name, as an older trainer may have noted, before all."""
    name = parse(key.rpartition("/")[2])
    return name.order if name else OLDEST


def later(one: Learned, other: Learned) -> dict[str, str]:
    """By feed the newer of two windows."""
    return {
        feed: max((learned[feed] for learned in (one, other) if feed in learned), key=order_of)
        for feed in one.keys() | other.keys()
    }


def carried(newest: Learned, learned: Learned) -> dict[str, str]:
    """What a manifest says that it was learned from: the newest windows, and of feeds whose windows are all in day
    files what was learned before, so that none of them counts as new when it comes again."""
    gone = sorted(learned.keys() - newest.keys(), key=lambda feed: order_of(learned[feed]), reverse=True)
    kept = [*(learned.keys() & newest.keys()), *gone[: max(0, FEEDS - len(newest))]]
    return later(newest, {feed: learned[feed] for feed in kept})
