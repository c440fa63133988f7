"""Reading a request's body."""

import zlib
from typing import Final

from fastapi import HTTPException, Request

GZIP: Final = 31
"""What zlib calls the format."""


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; reading stops as soon as it is too large, whatever length was announced."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise HTTPException(413, f"found more than {limit} bytes, expected at most as many in one request")
        parts.append(part)
    return b"".join(parts)


def gunzip(body: bytes, most: int) -> bytes:
    """At most so many bytes. Raises zlib.error."""
    parts, size = [], 0
    while body and size < most:
        member = zlib.decompressobj(GZIP)
        parts.append(member.decompress(body, most - size))
        size += len(parts[-1])
        if not member.eof and size < most:
            raise zlib.error("it ends too soon")
        body = member.unused_data
    return b"".join(parts)
