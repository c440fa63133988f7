"""ETags: an answer that a client has already is not sent again (RFC 9110, section 13.1.2)."""

from hashlib import blake2b

from fastapi import Response

NOT_MODIFIED = 304
WEAK = "W/"


def etag_of(body: bytes) -> str:
    """A strong one, which names exactly this content."""
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether the header If-None-Match names it."""
    tags = [tag.strip().removeprefix(WEAK) for tag in (if_none_match or "").split(",")]
    return etag in tags or "*" in tags


def answered(body: bytes, if_none_match: str | None, headers: dict[str, str]) -> Response:
    """JSON with its ETag, or 304 for a client that has it. A cache must ask each time."""
    etag = etag_of(body)
    headers = {"ETag": etag, "Cache-Control": "no-cache", **headers}
    if is_known(etag, if_none_match):
        return Response(status_code=NOT_MODIFIED, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
