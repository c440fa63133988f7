"""What became of each roll-out, as it is noted in the store: models/<stream>/<member>/rollouts/<version>.json.

The pointer says where a roll-out is; its story says how it came there, and by whose hand.
"""

import logging
from typing import Final, Literal, get_args

import msgspec
from msgspec.structs import replace

from driftline.errors import Conflict, NotFound, TooLarge
from driftline.models import manifest as manifests
from driftline.store.port import Store

log = logging.getLogger(__name__)

STORY_LIMIT = 64 * 1024
"""Bytes of a story at most."""
EVENTS_KEPT = 100
WORDS_KEPT = 500
"""Characters of an event's reason that are kept."""
NEWEST_STORIES = 5
TRIES = 3

Outcome = Literal["done", "stopped", "aborted", "superseded"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
StoryState = Literal["running", "paused"] | Outcome
Act = Literal["began", "advanced", "paused", "resumed"] | Outcome
EVIDENCE = "evidence"
"""In the place of a person's name."""


class RolloutEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something happened to a roll-out. at: seconds since the epoch; by: a person, or EVIDENCE."""

    at: float
    act: Act
    why: str
    by: str = EVIDENCE
    stage: str = ""
    """Which edges run the version from then on, such as `10%`."""


class RolloutStory(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version's roll-out. former: what all edges ran when it began."""

    stream: str
    member: str
    version: str
    former: str | None
    state: StoryState
    events: list[RolloutEvent] = []
    """The newest last."""


class Stories:
    """All roll-outs' stories. Every call may raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, stream: str, member: str, version: str, former: str, event: RolloutEvent) -> bool:
        """Whether nobody had begun it."""
        story = RolloutStory(stream, member, version, former, "running", [event])
        try:
            key = manifests.rollout_key(stream, member, version)
            await self._store.put(key, msgspec.json.encode(story), if_absent=True)
        except Conflict:
            return False
        return True

    async def note(
        self,
        stream: str,
        member: str,
        version: str,
        former: str | None,
        *,
        state: StoryState,
        event: RolloutEvent,
    ) -> bool:
        """Adds an event to a story, which begins with its first. False where the story has that end already: of two
        trainers each may note the move that one of them made."""
        key = manifests.rollout_key(stream, member, version)
        event = replace(event, why=event.why[:WORDS_KEPT], by=event.by[:WORDS_KEPT])
        for _ in range(TRIES):
            story, etag = await self._read(key) or (RolloutStory(stream, member, version, former, state), None)
            if etag is not None and _ended_so(story, event):
                return False
            body = msgspec.json.encode(replace(story, state=state, events=[*story.events, event][-EVENTS_KEPT:]))
            try:
                await self._store.put(key, body, if_absent=etag is None, if_match=etag)
            except Conflict:
                continue
            return True
        log.warning("an event of a roll-out was not noted: %s %s", event.act, event.why, extra={"key": key})
        return True

    async def of(self, stream: str, member: str) -> list[RolloutStory]:
        """The newest NEWEST_STORIES of a model, the newest first."""
        prefix = manifests.rollout_prefix(stream, member)
        keys = sorted([listed.key async for listed in self._store.list(prefix)], reverse=True)
        stories = [await self._read(key) for key in keys[:NEWEST_STORIES]]
        return [story for story, _ in filter(None, stories)]

    async def _read(self, key: str) -> tuple[RolloutStory, str] | None:
        try:
            stored = await self._store.get(key, limit=STORY_LIMIT)
            assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
            return msgspec.json.decode(stored.body, type=RolloutStory), stored.etag
        except NotFound:
            return None
        except (TooLarge, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("a roll-out's story begins again: %s", error, extra={"key": key})
            await self._store.delete(key)
            return None


def _ended_so(story: RolloutStory, event: RolloutEvent) -> bool:
    """Whether the story says that end already. A version that a hand took back is kept from all edges, too, so a
    trainer that did not see the hand would call it stopped."""
    return story.state == event.act or (story.state, event.act) == ("aborted", "stopped")
