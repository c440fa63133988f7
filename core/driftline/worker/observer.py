"""Who is told what a worker does."""

from collections.abc import Sequence
from typing import Any, Protocol

from driftline.bus.port import Envelope


class Observer(Protocol):
    """Is told what the loop does, to count and time it."""

    def read(self, messages: int) -> None: ...

    def replayed(self, messages: int) -> None:
        """So many were read again for the states alone."""

    def unlearned(self, messages: int) -> None:
        """Retention dropped so many that had been answered, so that some states lack them."""

    def sent(self, outputs: Sequence[Any], causes: Sequence[Envelope[Any]], now: float) -> None:
        """`outputs` of the messages `causes` were acknowledged at `now`, seconds since the epoch."""

    def dead_letter(self) -> None: ...

    def checkpointed(self, seconds: float) -> None: ...

    def restarted(self) -> None: ...

    def lost(self, messages: int) -> None:
        """Retention dropped so many before they were read."""

    def passed_over(self) -> None:
        """Messages did not reach the step although they are there; the session begins anew."""

    def rewound(self) -> None:
        """The topic was made anew; reading begins at its beginning."""


class Unobserved:
    """Nobody looks."""

    def read(self, messages: int) -> None: ...

    def replayed(self, messages: int) -> None: ...

    def unlearned(self, messages: int) -> None: ...

    def sent(self, outputs: Sequence[Any], causes: Sequence[Envelope[Any]], now: float) -> None: ...

    def dead_letter(self) -> None: ...

    def checkpointed(self, seconds: float) -> None: ...

    def restarted(self) -> None: ...

    def lost(self, messages: int) -> None: ...

    def passed_over(self) -> None: ...

    def rewound(self) -> None: ...
