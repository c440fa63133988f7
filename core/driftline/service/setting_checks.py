"""Settings that can't be meant together, and files that they name in vain.

Each is a line that names the variable, what it holds, and what is allowed. Whatever is shown has its password removed.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from driftline.bus.tls import Identity

if TYPE_CHECKING:
    from driftline.service.settings import Settings

PREFIX = "DRIFTLINE_"
S3 = "s3://"
DOOR = ("https://", "http://")
"""How the URL of the trainer's door begins."""
CALLBACK = "/login/callback"
"""Where browsers come back to from an OpenID Connect issuer."""
STORES = "a folder, or s3://BUCKET[/PREFIX], or https://HOST of the trainer"
USER_INFO = re.compile(r"//[^/@\s]*@")


def variable(name: str) -> str:
    """The environment's name of a setting."""
    return f"{PREFIX}{name}".upper()


def shown(value: object) -> str:
    """A value as a message may show it: a URL without what stands before its host."""
    return USER_INFO.sub("//…@", repr(value))


def line(name: str, value: object, expected: str) -> str:
    return f"{variable(name)}: found {'nothing' if value is None else shown(value)}, expected {expected}"


def of_kafka(settings: "Settings", client: str = "kafka") -> Iterator[str]:
    """Credentials without SASL, SASL without credentials, certificates without TLS. client: how the names begin."""
    protocol = getattr(settings, f"{client}_security_protocol")
    credentials = {name: getattr(settings, name) for name in (f"{client}_sasl_username", f"{client}_sasl_password")}
    if "SASL" in protocol:
        for name, value in credentials.items():
            if value is None:
                yield line(name, None, f"one, since {variable(f'{client}_security_protocol')} is {protocol!r}")
    elif given := [name for name, value in credentials.items() if value is not None]:
        yield line(f"{client}_security_protocol", protocol, f"'SASL_SSL', since {variable(given[0])} is set")
    yield from of_identity(client, settings)
    certificate, authority = f"{client}_cert_file", f"{client}_ca_file"
    files = [name for name in (authority, certificate) if getattr(settings, name) is not None]
    if files and "SSL" not in protocol:
        expected = "'SASL_SSL' or 'SSL'" if certificate in files else "'SASL_SSL'"
        yield line(f"{client}_security_protocol", protocol, f"{expected}, since {variable(files[0])} is set")
    elif authority in files:
        yield from of_authority(variable(authority), str(getattr(settings, authority)))


def of_store(settings: "Settings") -> Iterator[str]:
    """What only a bucket has beside a folder, and URLs that are none."""
    if settings.store.startswith(S3):
        if not urlsplit(settings.store).netloc:
            yield line("store", settings.store, STORES)
        yield from of_url("store_endpoint", settings.store_endpoint)
        yield from of_url("store_queue", settings.store_queue)
        return
    if settings.store.startswith(DOOR):
        yield from _of_door(settings)
    elif "://" in settings.store:
        yield line("store", settings.store, STORES)
        return
    what = f"{'the door' if settings.store.startswith(DOOR) else 'the folder'} {shown(settings.store)}"
    for name in ("store_endpoint", "store_queue", "store_topic"):
        value = getattr(settings, name)
        if value is not None:
            yield line(name, value, f"none, since {variable('store')} is {what}")


def _of_door(settings: "Settings") -> Iterator[str]:
    yield from of_url("store", settings.store)
    if settings.store_token_file is None and settings.store_token is None:
        yield line("store_token_file", None, f"a file of a credential, since {variable('store')} is a trainer's door")
    elif settings.store_token_file is not None and settings.store_token is not None:
        yield line("store_token_file", str(settings.store_token_file), f"none, since {variable('store_token')} is set")
    if settings.store_ca_file is not None:
        yield from of_authority(variable("store_ca_file"), str(settings.store_ca_file))
    if not settings.store_plain and not is_private(settings.store):
        yield line("store", settings.store, f"https://…, or {variable('store_plain')}=true to do without encryption")


def of_access(settings: "Settings") -> Iterator[str]:
    """Roles that nobody can have, and an issuer whose keys anybody on the way could replace."""
    if settings.read == "token" and not settings.knows_callers:
        how = " or ".join(map(variable, ("token", "tokens_file", "oidc_issuer")))
        yield line("read", settings.read, f"'open', or one of {how}")
    if settings.oidc_issuer is None:
        for name in ("oidc_audience", "oidc_client_id"):
            if getattr(settings, name) is not None:
                yield line("oidc_issuer", None, f"a URL, since {variable(name)} is set")
        return
    yield from of_url("oidc_issuer", settings.oidc_issuer)
    if not is_private(settings.oidc_issuer):
        yield line("oidc_issuer", settings.oidc_issuer, "https://…")
    if settings.oidc_audience is None:
        yield line("oidc_audience", None, f"what tokens are for, since {variable('oidc_issuer')} is set")
    yield from _of_sign_in(settings)


def _of_sign_in(settings: "Settings") -> Iterator[str]:
    """A client that is not named, an address to which no browser could return, and scopes of another protocol."""
    if settings.oidc_client_id is None:
        for name in ("oidc_client_secret", "oidc_redirect"):
            if getattr(settings, name) is not None:
                yield line("oidc_client_id", None, f"a client's id, since {variable(name)} is set")
        return
    yield from of_url("oidc_redirect", settings.oidc_redirect)
    if settings.oidc_redirect is not None and not settings.oidc_redirect.endswith(CALLBACK):
        yield line("oidc_redirect", settings.oidc_redirect, f"a URL that ends in {CALLBACK}")
    if "openid" not in settings.oidc_scope.split():
        yield line("oidc_scope", settings.oidc_scope, "scopes of which one is openid")


def is_private(url: str) -> bool:
    """Whether nobody on the way can read what goes to that URL: it is encrypted, or stays on this machine."""
    parts = urlsplit(url)
    try:
        return parts.scheme == "https" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def of_url(name: str, value: str | None) -> Iterator[str]:
    """What is no URL, and a URL with a password: logs and errors show URLs."""
    if value is None:
        return
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        yield line(name, value, "a URL such as https://host:port")
    elif "@" in parts.netloc:
        yield line(name, value, "a URL without a user and a password")


def of_authority(name: str, path: str | None) -> Iterator[str]:
    """A file of certificate authorities that can't be used; `name` is the whole variable's."""
    if not path:
        return
    try:
        why = _why_unusable(path, Path(path).stat().st_mtime_ns)
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        yield f"{name}: found {path!r}, expected a file of certificates in PEM that can be read: {why}"


def of_identity(client: str, settings: "Settings") -> Iterator[str]:
    """A certificate and a key of the client of that name which can't be used."""
    identity = _identity(client, settings)
    if identity.cert is None and identity.key is not None:
        yield line(f"{client}_cert_file", None, f"a certificate, since {variable(f'{client}_key_file')} is set")
    elif mistake := identity.mistake():
        yield f"{variable(f'{client}_cert_file')}, {variable(f'{client}_key_file')}: {mistake}"


def of_expiry(client: str, settings: "Settings") -> Iterator[str]:
    """A certificate that does not hold now; this machine's clock may be wrong, so it ends nothing."""
    if why := _identity(client, settings).expired():
        yield f"{variable(f'{client}_cert_file')}: {why}"


def _identity(client: str, settings: "Settings") -> Identity:
    cert, key = (getattr(settings, f"{client}_{name}_file") for name in ("cert", "key"))
    return Identity(cert=str(cert) if cert else None, key=str(key) if key else None)


@lru_cache(8)
def _why_unusable(path: str, _changed: int) -> str:
    """Remembered, since all settings of a process name the same few files, and reading one takes a while."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    """The variables by which the clients of S3 and of the trainer find their certificate authorities."""
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        yield from of_authority(name, environment.get(name))
