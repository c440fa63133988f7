"""How a worker reads, commits and gives up."""

from dataclasses import dataclass
from math import ceil

ROUND = 0.25
"""A round takes this share of the time between two, so that what is read again is not much older than that."""
AT_ONCE_S = 0.05
"""How often checkpoints are taken to come where each batch is one."""


@dataclass(frozen=True)
class LoopSettings:
    """How a worker reads, commits and gives up."""

    batch_limit: int = 500
    """Messages worked off at once; with the bus's own buffers this bounds memory, whatever the lag."""
    checkpoint_every: float = 1.0
    """Seconds between checkpoints."""
    exactly_once: bool = False
    """Outputs are sent inside the checkpoint's transaction instead of at once."""
    exactly_once_every: float = 0.1
    held_limit: int = 2000
    """Outputs held back for the transaction at most; where each batch is one, it is a batch."""
    state_every: float = 60.0
    """Seconds between rounds in which changed states are written; 0 writes them with every position, all at once."""
    replay_limit: int = 5000
    """With so many messages of a partition to be read again after a crash, a round is due: it bounds a recovery."""
    states_at_once: int = 500
    """States in one transaction at most, unless more belong together, and a second at most: it bounds a transaction's
    memory, and how long one takes."""
    dead_letter_share: float = 0.1
    dead_letter_minimum: int = 20
    """Dead letters that are tolerated whatever their share."""

    @property
    def interval(self) -> float:
        return self.exactly_once_every if self.exactly_once else self.checkpoint_every

    @property
    def most_held(self) -> int:
        """Outputs held back while a checkpoint is being written.

        Where each batch is one, the next batch waits for it: a worker that ran ahead would hold thousands of messages
        as objects, and leave behind those that read what it puts out, until that is no longer in memory.
        """
        return self.held_limit if self.interval else min(self.held_limit, self.batch_limit)

    def states_of(self, total: int, partitions: int, *, hurried: bool) -> int:
        """How many of a round's states each of its checkpoints takes, for one of so many partitions. hurried: as many
        as may be, not only so many that the round is over in time."""
        if not self.state_every:
            return total
        pace = self.interval or AT_ONCE_S
        most = ceil(self.states_at_once * min(1.0, pace) / partitions)
        needed = ceil(total * pace / (ROUND * self.state_every))
        return max(1, most if hurried else min(most, needed))
