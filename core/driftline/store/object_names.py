"""Names in the object store: a series' folder, and which names no store takes. Pure."""

import hashlib
import re
from urllib.parse import quote

LONGEST = 255
"""Bytes of a folder's or file's name, as file systems take it."""
LONGEST_KEY = 1024
"""Bytes of a whole key, as S3 takes it."""
CUT = "="
"""Stands before the hash of a name that was too long; quoting leaves none of these, so no other name has one."""


def folder_of(key: str) -> str:
    """The one folder of a series: `key` quoted so that it is a single name on any store, and no other key's.

    Leading dots are quoted, too: such names are hidden, or lead out of the folder. What would be too long for a file
    system is cut, and ends in a hash of the whole.
    """
    # A lone surrogate is no text, but must not stop anybody.
    bare = key.lstrip(".")
    quoted = "%2E" * (len(key) - len(bare)) + quote(bare, safe="", errors="surrogatepass")
    if len(quoted) <= LONGEST:
        return quoted
    digest = hashlib.sha256(quoted.encode()).hexdigest()
    # A percent sign is not left without its digits.
    head = re.sub(r"%.?$", "", quoted[: LONGEST - len(CUT) - len(digest)])
    return f"{head}{CUT}{digest}"


def refusal(key: str) -> str | None:
    """Why no store can ever hold an object under `key`, or None."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return f"found key {key!r}, expected text that UTF-8 can hold"
    if size > LONGEST_KEY:
        return f"found a key of {size} bytes, {key[:80]!r}…, expected at most {LONGEST_KEY}"
    if "\0" in key or any(part in {"", ".", ".."} for part in key.split("/")):
        return f"found key {key!r}, expected a path such as models/stream/member/current.json"
    return None
