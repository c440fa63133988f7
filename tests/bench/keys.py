"""Many keys in one stream: `make bench-keys` writes into docs/scaling.md what 5,000 of them cost beside one.

The same records go through inference's and combiner's own steps twice: as one key, and round-robin over many.
"""

import statistics
import time

import numpy as np

from driftline.definition import StreamDefinition, load
from driftline.messages import Record
from tests.bench.page import write_part
from tests.conftest import ROOT
from tests.e2e.lanes import Lanes

PAGE = ROOT / "docs" / "scaling.md"
KEYS = 5000
ROUNDS = 8
REPEATS = 3
HORIZONS = (1, 6, 36)


def records(stream: StreamDefinition, keys: int, count: int) -> list[Record]:
    values = np.random.default_rng(0).normal(size=(count, len(stream.columns)))
    names = [f"k{n}" for n in range(keys)]
    return [
        Record(stream.name, names[n % keys], n // keys * 600_000, dict(zip(stream.columns, row, strict=True)), 0.0)
        for n, row in enumerate(values.tolist())
    ]


def seconds(stream: StreamDefinition, keys: int) -> tuple[float, Lanes]:
    """For KEYS * ROUNDS records, once every series is known."""
    lanes = Lanes(stream)
    sent = records(stream, keys, KEYS * (ROUNDS + 2))
    lanes.run(sent[: 2 * KEYS])
    began = time.perf_counter()
    lanes.run(sent[2 * KEYS :])
    return time.perf_counter() - began, lanes


def restored(lanes: Lanes, stream: StreamDefinition) -> bool:
    """Whether a key's whole state is the same, to the last bit, after it was saved and restored."""
    again = Lanes(stream)
    for lane, other in ((lanes.forecasting, again.forecasting), (lanes.blending, again.blending)):
        state = lane.save("k0")
        other.restore("k0", state)
        if other.save("k0") != state:
            return False
    return True


def main() -> None:
    stream = load(ROOT / "streams" / "outdoor-temperature.yaml").model_copy(update={"horizon": HORIZONS})
    one, many = [], []
    for _ in range(REPEATS):
        one.append(seconds(stream, 1)[0])
        taken, lanes = seconds(stream, KEYS)
        many.append(taken)
    count = KEYS * ROUNDS
    ratio = statistics.median(b / a for a, b in zip(one, many, strict=True))
    sizes = [len(lane.save("k0")) / 1000 for lane in (lanes.forecasting, lanes.blending)]
    same = "the same to the last bit" if restored(lanes, stream) else "NOT the same"
    each = [f"{count / statistics.median(taken):,.0f}" for taken in (many, one)]
    text = (
        f"{KEYS:,} keys in turn take {ratio:.2f} times as long as one key, for the same {count:,} records with "
        f"{len(stream.columns)} columns and {len(HORIZONS)} horizons through both steps in one process\n(medians of "
        f"{REPEATS}: {each[0]} and {each[1]} records/s). A key's state is {sizes[0]:.1f} kB in inference and "
        f"{sizes[1]:.1f} kB in the combiner, for {len(HORIZONS)} horizons; restored, it is\n{same}.\n"
    )
    write_part(PAGE, "bench-keys", text)
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
