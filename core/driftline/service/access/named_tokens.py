"""The file of named tokens: who may do what, and of each token its SHA-256 alone. Pure.

tokens:
  - name: grafana
    role: viewer
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    created: 2026-11-26T20:00:00Z
    expires: 2027-11-26T20:00:00Z     # may be left out
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Final

import msgspec
import yaml

from driftline import yaml_text
from driftline.errors import Conflict, InvalidInput, NotFound
from driftline.service.access.roles import Caller, Role, RoleName

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
SHARED: Final = "DRIFTLINE_TOKEN"
"""How the audit names whoever has the one token of the settings; no file may name another so."""
MARK_DIGITS: Final = 16

TokenName = Annotated[str, msgspec.Meta(pattern=NAME)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class NamedToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a token."""

    name: TokenName
    role: RoleName
    sha256: Digest
    created: Instant | None = None
    expires: Instant | None = None

    def caller(self) -> Caller:
        return Caller(self.name, Role.named(self.role), "token", mark_of(self.sha256))

    def is_over(self, now: float) -> bool:
        return self.expires is not None and self.expires.timestamp() <= now


class TokenList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    tokens: tuple[NamedToken, ...] = ()


def digest_of(token: str) -> str:
    """A random token of 256 bits needs neither salt nor a slow hash: nobody can try that many."""
    return sha256(token.encode()).hexdigest()


def mark_of(digest: str) -> str:
    """Tells a token from any other, and says nothing of it."""
    return digest_of(digest)[:MARK_DIGITS]


def parse(text: str, where: str) -> TokenList:
    """Raises InvalidInput that says what in the file is wrong, and shows nothing of it that could be a secret."""
    try:
        listed = msgspec.convert(yaml_text.read(text) or {}, TokenList)
        # Only now: what is no key of a token might be a secret.
        repeated = next(yaml_text.repeated_keys(text), None)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput(f"{where}: line {line}: found no YAML or JSON that can be read: {error.problem}") from None
    except RecursionError:
        raise InvalidInput(f"{where}: found lists in lists without end, expected a list of tokens") from None
    except (yaml.YAMLError, ValueError, msgspec.ValidationError) as error:
        raise InvalidInput(f"{where}: found tokens that can't be used: {error}") from None
    if repeated is not None:
        line, key = repeated
        raise InvalidInput(f"{where}: line {line}: found {key!r} for the second time, expected it once")
    _check_unique(listed.tokens, where)
    return listed


def _check_unique(tokens: Iterable[NamedToken], where: str) -> None:
    names, digests = set[str](), set[str]()
    for token in tokens:
        if token.name in names or token.sha256 in digests:
            raise InvalidInput(f"{where}: found {token.name!r} or its sha256 twice, expected each once")
        names.add(token.name)
        digests.add(token.sha256)


def text_of(listed: TokenList) -> str:
    """As `parse` reads it."""
    tokens = [
        {name: value for name, value in msgspec.structs.asdict(token).items() if value is not None}
        for token in listed.tokens
    ]
    return yaml.safe_dump({"tokens": tokens}, sort_keys=False)


def with_new(listed: TokenList, token: NamedToken) -> TokenList:
    """Raises Conflict where the name is taken."""
    if any(token.name == known.name for known in listed.tokens):
        raise Conflict(f"found a token of the name {token.name!r} already: revoke it first, or choose another name")
    return TokenList((*listed.tokens, token))


def without(listed: TokenList, name: str) -> TokenList:
    """Raises NotFound."""
    rest = tuple(token for token in listed.tokens if token.name != name)
    if len(rest) == len(listed.tokens):
        known = ", ".join(token.name for token in listed.tokens) or "none"
        raise NotFound(f"found no token of the name {name!r}, expected one of: {known}")
    return TokenList(rest)


def new_token(plain: str, name: str, role: RoleName, now: float, days: float | None) -> NamedToken:
    """What is kept of a new token. Raises InvalidInput for a name that can't be one."""
    expires = datetime.fromtimestamp(int(now + days * 86_400), UTC) if days is not None else None
    kept = NamedToken(name, role, digest_of(plain), datetime.fromtimestamp(int(now), UTC), expires)
    try:
        return msgspec.convert(msgspec.to_builtins(kept), NamedToken)
    except msgspec.ValidationError:
        raise InvalidInput(f"found the name {name!r}, expected letters, digits and . _ @ - , at most 64") from None
