"""A hop of Quix Streams with one counter of state per key, as a comparison: `tests.bench.relay`, made durable.

.venv-quix/bin/python tests/bench/quix_hop.py BROKERS SOURCE TARGET BYTES FOLDER
"""

import sys

from quixstreams import Application, State  # type: ignore[import-not-found]


def main(brokers: str, source: str, target: str, size: int, folder: str) -> None:
    app = Application(
        broker_address=brokers,
        consumer_group=f"quix-{source}",
        auto_offset_reset="earliest",
        state_dir=folder,
        loglevel="WARNING",
    )

    def counted(payload: bytes, state: State) -> bytes:
        state.set("count", state.get("count", 0) + 1)
        return payload[:size].ljust(size)

    frame = app.dataframe(app.topic(source, key_deserializer="bytes", value_deserializer="bytes"))
    frame = frame.apply(counted, stateful=True)
    frame.to_topic(app.topic(target, key_serializer="bytes", value_serializer="bytes"))
    app.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
