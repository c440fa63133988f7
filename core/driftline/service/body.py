"""Reading a request's body."""

from fastapi import HTTPException, Request


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
