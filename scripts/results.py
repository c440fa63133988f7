"""The table of results in README, copied from the pages of the measuring commands: `python -m scripts.results`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
MARKED = re.compile(r"(<!-- results: made by `make docs` -->\n).*?(<!-- end -->)", re.DOTALL)
HORIZONS = {"1": "10 min", "6": "1 h", "36": "6 h"}
"""Steps of the sample data, and how long they are."""
ACCURACY = "[`make accuracy`](docs/accuracy.md)"
SPEED = "[`make bench`](docs/performance.md)"
SWAPS = "[`make bench-swap`](docs/models.md#how-fast)"
PLACES = "[`make bench-deployments`](docs/deployments.md#which-one)"
HEAD = ("measured", "Driftline", "for comparison", "by")
Cells = Mapping[str, Mapping[str, str]]


def read(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def tables(text: str) -> Mapping[str, Cells]:
    """By heading the cells of the tables below it, by row and column; those above all headings are under ""."""
    by_heading: dict[str, dict[str, dict[str, str]]] = {}
    heading, path, head = "", list[str](), list[str]()
    for line in text.splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        if line.startswith("#"):
            level = line.index(" ")
            path = [*path[: level - 2], line[level:].strip()] if level > 1 else []
            heading, head = " / ".join(path), []
        elif not line.startswith("|"):
            head = []
        elif not head:
            head = cells
        elif set("".join(cells)) - set("-: "):
            by_heading.setdefault(heading, {}).setdefault(cells[0], dict(zip(head, cells, strict=True)))
    return by_heading


def render() -> str:
    """The table, with its figures as the pages have them."""
    rows = [HEAD, ["---"] * len(HEAD), *_accuracy(), *_speed(), _swaps(), _places()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _accuracy() -> Iterator[Sequence[str]]:
    by_heading = tables(read("accuracy.md"))
    ahead = f"{' / '.join(HORIZONS.values())} ahead"
    for stream, unit in (("outdoor-temperature", "°C"), ("active-power", "kW")):
        lines = [by_heading[f"{stream} / {h} ahead"]["none"] for h in HORIZONS]
        blend, naive = (" / ".join(line[name] for line in lines) for name in ("blend", "persistence"))
        what = f"RMSE of {stream.replace('-', ' ')}, {ahead}, {unit}"
        yield what, blend, f"repeating the last value: {naive}", ACCURACY
    covered = " / ".join(by_heading[f"outdoor-temperature / {h} ahead"]["none"]["coverage"] for h in HORIZONS)
    yield f"temperatures inside the 90 % interval, {ahead}", covered, "nominal: 0.90", ACCURACY


def _speed() -> Iterator[Sequence[str]]:
    page = read("performance.md")
    rows = tables(page)[""]
    full = rows["records a second at saturation"]
    cores = _matched(r", (\d+) cores,", page)
    yield f"records a second through the chain, {cores} cores", full["chain"], f"a bare relay: {full['relay']}", SPEED
    what = f"the same in one process on the embedded bus, {cores} cores"
    yield what, full["edge"], f"Quix Streams, no model: {full['Quix']}", SPEED
    half, tail = (rows[f"{which} at 100/s, sent to readable, ms"] for which in ("p50", "p99"))
    ours, edge, bare = (f"{half[side]} / {tail[side]}" for side in ("chain", "edge", "relay"))
    yield "from sensor to blend at 100 records/s, p50 / p99, ms", ours, f"a bare relay: {bare}", SPEED
    yield "the same in one process on the embedded bus", edge, f"a bare relay: {bare}", SPEED


def _swaps() -> Sequence[str]:
    rows = tables(read("models.md"))["How fast"]
    lost, records = rows["lost, doubled, without a version"], rows["records under 200 swaps"]
    what = "records lost, doubled, without a version while 200 models are swapped in"
    return what, lost["measured"], f"of {records['measured']} records", SWAPS


def _places() -> Sequence[str]:
    page = read("deployments.md")
    seen = tables(page)["Which one"]["sent → seen on the edge"]
    link = _matched(r"(\d+ ms each way)", page)
    what = f"from sensor to a reader on the edge, {link} to the cloud, p50 / p99, ms"
    return what, seen["integrated"], f"everything in the cloud: {seen['cloud-centric']}", PLACES


def _matched(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"found nothing like {pattern!r}, expected it on the page")
    return match[1]


def updated(readme: str) -> str:
    """README with the table as the pages have it. Raises ValueError where it has no place for one."""
    text, places = MARKED.subn(lambda match: match[1] + render() + match[2], readme)
    if places != 1:
        raise ValueError(f"{README}: found {places} places for the results, expected one")
    return text


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
