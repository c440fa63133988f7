"""Who follows single records through a worker, so that a trace shows where each has spent its time."""

from collections.abc import Sequence
from typing import Any, Protocol

from driftline.bus.port import Envelope


class StepSpans(Protocol):
    """Is told of each batch in turn: `begin`, `stamped`, and `end` once its outputs are safe. A batch that fails is
    begun again, or never."""

    def begin(self, causes: Sequence[Envelope[Any]]) -> None:
        """A step is about to work these off."""

    def stamped(self, outputs: Sequence[Any]) -> Sequence[Any]:
        """What the step has put out, the same as it is sent: the context of a trace names who sends it."""

    def end(self) -> None:
        """The outputs were acknowledged."""


class Untraced:
    """No record is followed."""

    def begin(self, causes: Sequence[Envelope[Any]]) -> None: ...

    def stamped(self, outputs: Sequence[Any]) -> Sequence[Any]:
        return outputs

    def end(self) -> None: ...
