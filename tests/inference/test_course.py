"""The curve of a comparison: bounded, in order, with the newest, and there after a restart."""

from driftline_inference.comparisons import Comparisons
from driftline_inference.course import LONGEST, BetPoint, Course


def test_a_long_comparison_has_a_short_curve_from_begin_to_end() -> None:
    course = Course()
    for bet in range(1, 10_001):
        course.add(bet, bet / 10, -bet / 10)
        assert len(course.points()) <= LONGEST
    truths = [point.truths for point in course.points()]
    assert truths == sorted(set(truths))
    assert len(truths) > LONGEST // 3
    assert truths[0] <= 10_000 / (LONGEST // 3)
    assert course.points()[-1] == BetPoint(10_000, 1000.0, -1000.0)


def test_a_curve_goes_on_after_a_restart() -> None:
    before, after = Comparisons(1), Comparisons(1)
    shadow = before.between("batch", "v2", "v1")
    for t in range(200):
        shadow.add(["k"], [t], [float(t)], [(t + 1.0, t + 1.5)])
    after.restore(before.save())
    restored = after.newest("batch")
    assert restored is not None
    kept = restored.course.points()
    assert kept == shadow.course.thinned()
    assert len(kept) > 3
    for t in range(200, 400):
        restored.add(["k"], [t], [float(t)], [(t + 1.0, t + 1.5)])
    assert restored.course.points()[: len(kept)] == kept
    assert restored.course.points()[-1].truths > kept[-1].truths


def test_totals_that_were_saved_without_a_curve_are_taken_up() -> None:
    wealth = ",".join(["0.5"] * 10)
    saved = f'{{"batch":[{{"new":"v2","old":"v1","seen":9,"worse":[{wealth}],"not_worse":[{wealth}]}}]}}'
    comparisons = Comparisons(1)
    comparisons.restore(saved.encode())
    newest = comparisons.newest("batch")
    assert newest is not None
    assert (newest.seen, newest.course.points()) == (9, [])
