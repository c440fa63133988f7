"""What the cloud's door of the store and its clients agree on. Pure."""

from typing import Final

OBJECT: Final = "/v1/store/object"
LIST: Final = "/v1/store/list"
WATCH: Final = "/v1/store/watch"
MARK: Final = "Driftline-Store"
"""Header of all that the door itself answers: a 404 without it is some other server's."""
MARK_VALUE: Final = "1"
LIST_PAGE: Final = 1000
"""Objects of a listing in one answer."""
WATCH_LONGEST_S: Final = 240.0
"""Seconds that a watch waits at most: shorter than routers remember a connection on which nothing is said."""
