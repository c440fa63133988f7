"""What errors say to people."""


def without_cause(error: Exception) -> str:
    """Its sentence, less the text for programmers of what it came from."""
    return str(error).removesuffix(f": {error.__cause__!r}")
