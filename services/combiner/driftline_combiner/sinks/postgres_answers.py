"""What PostgreSQL means by its errors, and what a person can do. Pure.

See "PostgreSQL Error Codes" in its documentation. What keeps a connection from being made comes without a code, in
words.
"""

import re
from typing import Final

from driftline_combiner.sinks.port import SinkRefused, SinkUnavailable

RIGHTS: Final = "42501"
_BY_CODE: Final = {
    RIGHTS: "let {user} use and create in the schema {schema} and create temporary tables: see docs/sinks.md",
    "25006": "name a server that can be written, not its copy; a full one may be read only, too",
    "53100": "make room on the server's disk",
    "3D000": "create the database, or correct database",
    "3F000": "restart this service, which makes its tables, or correct schema",
}
_BY_CLASS: Final = {
    "22": "report it with the log's details",
    "23": "remove the constraints that were added to the tables of the schema {schema}",
    "28": "correct username and password_file, or the server's pg_hba.conf",
    "42": "give the tables of the schema {schema} their columns back, or move them aside: they are made again",
}
"""By the first letters of a code."""
_IN_WORDS: Final = {
    r"password|authentication|pg_hba\.conf|role .* does not exist|not permitted": "28",
    r"database .* does not exist": "3D000",
}
_IDENTITY: Final = re.compile("certificate|SSL|TLS|private key", re.IGNORECASE)


def explained(code: str | None, text: str, user: str, schema: str) -> SinkRefused | SinkUnavailable:
    """code: the five letters of SQLSTATE; None where no connection was made."""
    words = " ".join(text.split())
    if code is None:
        code = next((code for pattern, code in _IN_WORDS.items() if re.search(pattern, words)), "")
        if not code and _IDENTITY.search(words):
            return SinkRefused(words, "correct tls, ca_file, cert_file and key_file")
    remedy = _BY_CODE.get(code) or _BY_CLASS.get(code[:2])
    return SinkUnavailable(words) if remedy is None else SinkRefused(words, remedy.format(user=user, schema=schema))
