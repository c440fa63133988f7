"""The one error tree.

DriftlineError
├── InvalidInput              what somebody sent or wrote is wrong; the message says what was found and expected
│   ├── InvalidDefinition     a stream definition file
│   ├── PoisonMessage         bytes on a topic that no reader can use
│   ├── RefusedBackup         a part of a backup that is damaged, of another key or edge, or of a later release
│   ├── RefusedNote           a small file in the store that nobody signed who is believed
│   └── TooLarge              an object in the store that is larger than its reader takes
├── Unavailable               recoverable: the same call may succeed later
│   ├── BusUnavailable        the broker is away or did not acknowledge
│   ├── ClockUnset            this machine does not know the time yet
│   ├── IdentityCopied        another device runs under this edge's id
│   ├── StoreUnavailable      the object store is away
│   └── Standstill            a worker is not working off its input
│       └── Stuck             and comes to no end with what it began
├── NotAdmitted               whoever asks is no device of the fleet, or none any more
├── NotAllowed                ... is one, and may not do this
├── NotFound                  no object under that key
├── Unstorable                the object store will never take this object: no retry mends it
├── Conflict                  a conditional put lost: somebody else was there first
├── Fenced                    recoverable: another worker took this partition over
├── PassedOver                recoverable: messages did not reach the step although the bus still holds them
├── UnusableData              a data folder that no retry makes usable: another version's, or damaged
├── TooManyDeadLetters        a worker stops itself: its input is mostly garbage
└── RefusedModel              a model version that the edge does not trust, with its reason
"""

from typing import Final, Literal, get_args

EdgeRefusal = Literal[
    "pointer",
    "manifest",
    "quarantine",
    "signature",
    "size",
    "sha256",
    "stream",
    "load",
    "flex",
    "type",
    "shape",
    "golden",
    "finite",
    "remembered",
]
"""Why an edge refuses a version; few, since they are labels of a metric."""
TrainerRefusal = Literal["rows", "parent", "gate", "usage"]
Refusal = EdgeRefusal | TrainerRefusal
EDGE_REFUSALS: Final[tuple[EdgeRefusal, ...]] = get_args(EdgeRefusal)


class DriftlineError(Exception):
    """Everything that Driftline raises on purpose."""


class InvalidInput(DriftlineError):
    """What somebody sent or wrote is wrong."""


class InvalidDefinition(InvalidInput):
    """A stream definition that can't be used."""


class PoisonMessage(InvalidInput):
    """Bytes on a topic that no reader can use."""


class RefusedNote(InvalidInput):
    """A note in the store that is no such note, or that nobody signed who is believed."""


class RefusedBackup(InvalidInput):
    """What was kept of an edge and can't be taken up: damaged, sealed with another key, of another edge, or of a later
    release."""


class TooLarge(InvalidInput):
    """An object in the store that is larger than its reader takes."""

    def __init__(self, key: str, size: int | None, limit: int) -> None:
        """size: bytes, None where it is not known."""
        super().__init__(key, size, limit)
        self.key, self.size, self.limit = key, size, limit

    def __str__(self) -> str:
        size = "more" if self.size is None else f"{self.size} bytes"
        return f"{self.key}: found {size}, expected at most {self.limit} bytes"


class Unavailable(DriftlineError):
    """Recoverable: the same call may succeed later."""


class BusUnavailable(Unavailable):
    """The broker is away, or did not acknowledge in time."""


class ClockUnset(Unavailable):
    """This machine's clock shows a time that has long been over: nobody has told it the right one yet."""


class IdentityCopied(Unavailable):
    """Another device runs under this edge's id, until one of them gets an id of its own."""


class StoreUnavailable(Unavailable):
    """The object store is away."""


class Standstill(Unavailable):
    """A worker is not working off its input."""


class Stuck(Standstill):
    """A worker began something and comes to no end with it."""


class NotAdmitted(DriftlineError):
    """Whoever asks shows no credential of a device of the fleet, or one that holds no more."""


class NotAllowed(DriftlineError):
    """A device of the fleet asks for what is none of its business."""


class NotFound(DriftlineError):
    """No object under that key."""


class Unstorable(DriftlineError):
    """The object store will never take this object: its name or its size is beyond what that can hold."""


class Conflict(DriftlineError):
    """A conditional put lost."""


class Fenced(DriftlineError):
    """Another worker took this partition over; what it held must be restored before going on."""


class PassedOver(DriftlineError):
    """Messages did not reach the step although the bus still holds them; they must be read again from the last
    checkpoint on."""


class UnusableData(DriftlineError):
    """A data folder that no retry makes usable: another version wrote it, or it is damaged. The text says what to
    do."""


class TooManyDeadLetters(DriftlineError):
    """More than the configured share of a worker's input is unusable."""


class RefusedModel(DriftlineError):
    """A model version that must not be served.

    `reason` is one of a bounded set (a metric label); the text says what was found and expected.
    """

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
