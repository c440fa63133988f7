"""What ingest tells a client about what it sent before."""

from driftline.definition import parse
from driftline.messages import Record
from driftline_ingest.seen import Seen

STREAM = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\npatience: 2\n", "a.yaml")


def record(t: int, y: float | None = 1.0) -> Record:
    return Record("a", "k", t, {"y": y}, 0.0)


def take(seen: Seen, *records: Record) -> tuple[int, int, int]:
    sifted = seen.sift(records)
    seen.remember(sifted.fresh)
    return len(sifted.fresh), sifted.repeated, sifted.out_of_order


def test_a_target_that_was_missing_may_be_brought_once():
    seen = Seen({"a": STREAM})
    assert take(seen, record(1, None), record(2), record(1), record(1)) == (3, 0, 1)
    assert take(seen, record(1), record(2), record(2, None)) == (0, 2, 1)


def test_only_the_newest_that_lack_it_are_waited_for():
    seen = Seen({"a": STREAM})
    assert take(seen, *(record(t, None) for t in (1, 2, 3))) == (3, 0, 0)
    assert take(seen, record(1), record(2), record(3), record(3, None)) == (2, 1, 1)


def test_what_was_not_acknowledged_may_be_sent_again():
    seen = Seen({"a": STREAM})
    seen.sift([record(1)])
    assert take(seen, record(1)) == (1, 0, 0)
