"""The overview and the page of a series judge alike: `trust.py` and `words.js` have the same rules."""

from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from playwright.async_api import expect

from driftline.members import PERSISTENCE
from driftline.messages import FORECASTS, Forecast
from driftline.scoring import PUBLISHED, ROWS
from driftline_combiner.trust import ENOUGH, NEWEST, RULES, Judgements, Standings, judged
from tests.page.test_dashboard import BEGIN, CHROMIUM, SOON, Served, opened

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")
RIVAL = "batch"
ERRORS = [
    *({PUBLISHED: blend, PERSISTENCE: 2.0, RIVAL: 1.0} for blend in (0.9, 1.0, 1.09, 1.11, 1.49, 1.5, 1.9, 2.0, 2.1)),
    *({PUBLISHED: blend, PERSISTENCE: 1.0} for blend in (0.0, 0.5, 1.0, 1.05, 1.2, 1.6)),
    {PUBLISHED: 0.0, PERSISTENCE: 0.0},
    {PUBLISHED: 0.1, PERSISTENCE: 0.0},
    {PUBLISHED: 1.0},
    {PERSISTENCE: 1.0, RIVAL: 0.5},
    {PUBLISHED: 1.0, RIVAL: 1.0},
]
COUNTS = (0, 1, ENOUGH - 1, ENOUGH, 100, NEWEST)
SHARES = (1.0, 0.9, 0.86, 0.845, 0.8, 0.46, 0.44, 0.0)
CASES = [
    {"errors": errors, "guarded": guarded, "count": count, "share": share}
    for errors, guarded, count, share in product(ERRORS, (False, True), COUNTS, SHARES)
]
OVERVIEW = """async (horizon) => {
    const answer = await fetch(`v1/overview/series?stream=tank&key=north&horizon=${horizon}`);
    return (await answer.json()).series[0].trust.answer;
}"""
FEELINGS = {"": "unknown"}
"""The page shows what is not known yet in no colour."""
PAGE = """async (cases) => {
    const { trust } = await import("/assets/words.js");
    const { skill } = await import("/assets/series.js");
    return cases.map(({ errors, guarded, count, share }) => {
        const members = Object.keys(errors).filter((name) => name !== "blend");
        const skills = Object.fromEntries(Object.entries(errors)
            .map(([name, error]) => [name, skill([error], [errors.persistence])[0]]));
        const [answer, , feeling] = trust(members, errors, skills, guarded, { count, share: count ? share : null });
        return [answer, feeling ?? ""];
    });
}"""
"""What the page says of each case."""


def overview(cases: list[dict[str, Any]]) -> Judgements:
    rmse = np.full((len(cases), len(ROWS)), np.nan)
    for place, case in enumerate(cases):
        for name, error in case["errors"].items():
            rmse[place, ROWS.index(name)] = error
    columns = {name: np.array([case[name] for case in cases]) for name in ("guarded", "count", "share")}
    return judged(Standings(rmse, columns["guarded"], columns["count"].astype(float), columns["share"]))


@pytest.fixture
async def combiner() -> AsyncIterator[Served]:
    combiner = Served()
    await combiner.start()
    yield combiner
    await combiner.stop()


async def test_the_overview_and_the_page_of_a_series_give_the_same_answers(combiner: Served):
    judgements = overview(CASES)
    expected = [(judgements.answer(place), judgements.verdict(place).value) for place in range(len(CASES))]
    async with opened(combiner) as page:
        said = await page.evaluate(PAGE, CASES)
    given = [(answer, FEELINGS.get(feeling, feeling)) for answer, feeling in said]
    differing = [case for case in zip(CASES, expected, given, strict=True) if case[1] != case[2]]
    assert differing == []
    assert set(judgements.rule.tolist()) == set(range(len(RULES)))


CHANGING = np.concatenate([np.full(150, 1.0), np.full(60, 0.2)])
"""The model's error: of the newest 50 truths it would be judged otherwise than of the newest 100."""


def changing(n: int) -> Forecast:
    """A level that is forecast by a model whose error changes."""
    t, sign = BEGIN + n * 600_000, 1 if n % 2 else -1
    level = [float(20 + np.sin(step / 5)) for step in range(n, n + 7)]
    model = [level[h] + sign * float(CHANGING[n]) for h in (1, 6)]
    return Forecast("tank", "north", t, level[0], [1, 6], {"persistence": [level[0]] * 2, "rls": model}, {}, 0.0)


async def test_both_judge_by_the_same_truths(combiner: Served):
    await combiner.bus.publish(FORECASTS, [changing(n) for n in range(len(CHANGING))])
    async with opened(combiner) as page:
        for horizon in (1, 6):
            await page.goto(f"http://127.0.0.1:{combiner.port}/#stream=tank&key=north&horizon={horizon}")
            await expect(page.locator("#drift")).to_contain_text(f"{len(CHANGING)} records", timeout=SOON)
            answer = await page.evaluate(OVERVIEW, horizon)
            await expect(page.locator("#skill b")).to_have_text(answer)
