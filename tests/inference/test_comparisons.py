"""What a stream's comparisons say to the fleet, and that a restart does not begin them again."""

from pathlib import Path

import msgspec
import pytest

from driftline.store.folder import FolderStore
from driftline_inference.comparison_keeper import ComparisonKeeper
from driftline_inference.comparisons import Comparisons
from driftline_inference.shadow import LONGEST_SHADOW, LOOKS, SHADOW_RECORDS, Shadow
from driftline_inference.step import ForecastStep
from tests.inference.test_step import STREAM


def feed(shadow: Shadow, new: float, old: float, records: int, *, begin: int = 0) -> None:
    """Forecasts that are off by so much, of one series that stays at 0."""
    for tick in range(begin, begin + records):
        shadow.add(["k"], [tick], [0.0], [(new, old)])


def test_both_sides_are_told():
    comparisons = Comparisons(1)
    feed(comparisons.between("batch", "v2", "v1"), 1.0, 2.0, 101)
    (told,) = comparisons.of("batch")
    assert (told.new, told.old, told.truths, told.over) == ("v2", "v1", 100, False)
    assert told.log_worse < -2 < 3 < told.log_not_worse
    assert comparisons.of("speed") == []


def test_one_that_was_worse_is_over_and_still_told_when_the_next_runs():
    comparisons = Comparisons(1)
    feed(comparisons.between("batch", "v2", "v1"), 2.0, 1.0, 200)
    comparisons.between("batch", "v3", "v1")
    assert [(told.new, told.over, told.log_worse > 6.9) for told in comparisons.of("batch")] == [
        ("v2", True, True),
        ("v3", False, False),
    ]


def test_the_same_two_versions_are_compared_on():
    comparisons = Comparisons(1)
    feed(comparisons.between("batch", "v2", "v1"), 1.0, 2.0, 11)
    comparisons.between("batch", "v3", "v1")
    again = comparisons.between("batch", "v2", "v1")
    feed(again, 1.0, 2.0, 11, begin=500)
    assert [(told.new, told.truths) for told in comparisons.of("batch")] == [("v3", 0), ("v2", 20)]


def test_of_many_the_newest_are_told():
    comparisons = Comparisons(1)
    for number in range(20):
        comparisons.between("batch", f"v{number + 1}", f"v{number}")
    assert [told.new for told in comparisons.of("batch")] == ["v16", "v17", "v18", "v19", "v20"]


def test_where_both_stay_equal_it_ends_as_not_worse():
    shadow = Shadow("v2", "v1", 1)
    feed(shadow, 1.0, 1.0, SHADOW_RECORDS + 1)
    assert (shadow.over, shadow.not_worse.certain) == (True, True)
    assert shadow.test.evidence == pytest.approx(1.0)


def test_where_neither_side_wins_it_goes_on_for_longer():
    shadow = Shadow("v2", "v1", 1)
    for tick in range(LONGEST_SHADOW + 1):
        assert not shadow.over
        shadow.add(["k"], [tick], [0.0], [(2.0, 1.0) if tick // LOOKS % 2 else (1.0, 2.0)])
    assert shadow.over


def test_sensors_that_are_still_say_nothing():
    shadow = Shadow("v2", "v1", 1)
    feed(shadow, 0.0, 0.0, 500)
    assert (shadow.test.evidence, shadow.not_worse.evidence) == pytest.approx((1.0, 1.0))


def test_totals_of_former_releases_which_bet_more_often_go_on():
    comparisons = Comparisons(1)
    won = [1.0] * 10
    comparisons.restore(
        msgspec.json.encode({"batch": [{"new": "v2", "old": "v1", "seen": 70, "worse": won, "not_worse": won}]})
    )
    (former,) = comparisons.of("batch")
    assert former.truths == 70
    assert former.log_worse == pytest.approx(1.0)
    feed(comparisons.between("batch", "v2", "v1"), 2.0, 1.0, 101)
    (told,) = comparisons.of("batch")
    assert (told.truths, told.over) == (170, True)


async def test_a_restart_goes_on_with_the_totals(tmp_path: Path):
    disk = FolderStore(tmp_path)
    step = ForecastStep(STREAM, dict)
    feed(step.comparisons.between("batch", "v2", "v1"), 1.0, 2.0, 101)
    await ComparisonKeeper(disk, {"a": step}).save()
    restarted = ForecastStep(STREAM, dict)
    await ComparisonKeeper(disk, {"a": restarted}).restore()
    assert restarted.comparisons.of("batch") == step.comparisons.of("batch")
    feed(restarted.comparisons.between("batch", "v2", "v1"), 1.0, 2.0, 101, begin=500)
    assert restarted.comparisons.of("batch")[0].truths == 200


@pytest.mark.parametrize("body", [b"", b"{", b'{"batch": 1}', b'{"batch": [{"new": "v2"}]}'])
async def test_what_has_rotted_is_begun_again(tmp_path: Path, body: bytes):
    disk = FolderStore(tmp_path)
    await disk.put("comparisons/a.json", body)
    step = ForecastStep(STREAM, dict)
    await ComparisonKeeper(disk, {"a": step}).restore()
    assert step.comparisons.of("batch") == []


async def test_it_is_written_seldom_and_only_where_it_has_changed(tmp_path: Path):
    disk, now = FolderStore(tmp_path), [0.0]
    step = ForecastStep(STREAM, dict)
    keeper = ComparisonKeeper(disk, {"a": step}, ticks=lambda: now[0])

    async def nothing(_: object) -> None:
        return

    async def written() -> list[str]:
        await keeper.after(nothing)(None)
        return [listed.key async for listed in disk.list("comparisons/")]

    feed(step.comparisons.between("batch", "v2", "v1"), 1.0, 2.0, 11)
    assert await written() == []
    now[0] = 601.0
    assert await written() == ["comparisons/a.json"]
    await disk.delete("comparisons/a.json")
    now[0] = 1300.0
    assert await written() == []
