"""A message of a topic that others write."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """What somebody wrote. `timestamp`: seconds since the epoch, by the producer's clock unless the topic is kept by
    the broker's; key: None for none, or for bytes that are no text."""

    topic: str
    partition: int
    offset: int
    timestamp: float
    key: str | None
    payload: bytes
