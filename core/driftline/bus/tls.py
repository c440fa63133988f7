"""What a client shows by TLS and whom it believes, and sentences for why a server refuses it."""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ANSWER_S: Final = 3.0
"""How long a server may take to refuse a certificate: with TLS 1.3 it does so after the handshake."""
ALERT: Final = "ALERT"
WANTED: Final = "CERTIFICATE_REQUIRED"


@dataclass(frozen=True)
class Identity:
    """Whom a client believes and how it shows who it is, as paths of files in PEM. key: in `cert` by default."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Raises OSError, of which ssl.SSLError is one."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert is not None:
            # Without a password of its own a key that needs one would ask for it at the terminal.
            context.load_cert_chain(self.cert, self.key, password="")
        return context

    def mistake(self) -> str | None:
        """Why its certificate and key can't be used, or None."""
        if self.cert is None:
            return None
        for path in (self.cert, self.key or self.cert):
            try:
                Path(path).read_bytes()
            except OSError as error:
                return f"found {path!r}, expected a file in PEM that can be read: {error.strerror}"
        try:
            Identity(cert=self.cert, key=self.key).context()
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                return f"found a key in {self.key or self.cert!r} that does not fit the certificate in {self.cert!r}"
            problem = "a certificate in PEM, and its key without a password"
            return f"found {self.cert!r} and {self.key or self.cert!r}, expected {problem}: {error.reason or error}"
        return None

    def expired(self, now: datetime | None = None) -> str | None:
        """When its certificate has ended or will begin, where it does not hold now."""
        if self.cert is None:
            return None
        from cryptography import x509  # noqa: PLC0415 - large, and needed once a certificate is refused

        try:
            certificate = x509.load_pem_x509_certificate(Path(self.cert).read_bytes())
        except (OSError, ValueError):
            return None
        now = now or datetime.now(UTC)
        if now > certificate.not_valid_after_utc:
            return f"the certificate in {self.cert!r} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if now < certificate.not_valid_before_utc:
            return f"the certificate in {self.cert!r} holds from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return None


async def refusal(host: str, port: int, identity: Identity) -> str | None:
    """Why a server refuses the client's certificate or the lack of one, as the end of a sentence; None where it does
    not, or is not reached."""
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=identity.context())
            try:
                await reader.read(1)
            finally:
                writer.transport.abort()
    except ssl.SSLError as error:
        return _in_words(error.reason or "", identity)
    except (TimeoutError, OSError):
        return None
    return None


def _in_words(reason: str, identity: Identity) -> str | None:
    if ALERT not in reason:
        return None
    if identity.cert is None:
        # Servers name the lack of a certificate in several ways.
        return f"it wants a certificate of this client, and none is set ({reason})"
    return identity.expired() or f"it refuses the certificate in {identity.cert!r} ({reason})"
