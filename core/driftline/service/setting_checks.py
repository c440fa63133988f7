"""Settings that can't be meant together, and files that they name in vain.

Each is a line that names the variable, what it holds, and what is allowed. Whatever is shown has its password removed.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from driftline.service.settings import Settings

PREFIX = "DRIFTLINE_"
S3 = "s3://"
USER_INFO = re.compile(r"//[^/@\s]*@")


def variable(name: str) -> str:
    """The environment's name of a setting."""
    return f"{PREFIX}{name}".upper()


def shown(value: object) -> str:
    """A value as a message may show it: a URL without what stands before its host."""
    return USER_INFO.sub("//…@", repr(value))


def line(name: str, value: object, expected: str) -> str:
    return f"{variable(name)}: found {'nothing' if value is None else shown(value)}, expected {expected}"


def of_kafka(settings: "Settings") -> Iterator[str]:
    """Credentials without SASL, SASL without credentials, a certificate authority without TLS."""
    protocol = settings.kafka_security_protocol
    credentials = {
        "kafka_sasl_username": settings.kafka_sasl_username,
        "kafka_sasl_password": settings.kafka_sasl_password,
    }
    if "SASL" in protocol:
        for name, value in credentials.items():
            if value is None:
                yield line(name, None, f"one, since {variable('kafka_security_protocol')} is {protocol!r}")
    elif given := [name for name, value in credentials.items() if value is not None]:
        yield line("kafka_security_protocol", protocol, f"'SASL_SSL', since {variable(given[0])} is set")
    if settings.kafka_ca_file is None:
        return
    if "SSL" in protocol:
        yield from of_authority(variable("kafka_ca_file"), str(settings.kafka_ca_file))
    else:
        yield line("kafka_security_protocol", protocol, f"'SASL_SSL', since {variable('kafka_ca_file')} is set")


def of_store(settings: "Settings") -> Iterator[str]:
    """What only a bucket has beside a folder, and URLs that are none."""
    if settings.store.startswith(S3):
        if not urlsplit(settings.store).netloc:
            yield line("store", settings.store, "a folder, or s3://BUCKET[/PREFIX]")
        yield from of_url("store_endpoint", settings.store_endpoint)
        yield from of_url("store_queue", settings.store_queue)
        return
    if "://" in settings.store:
        yield line("store", settings.store, "a folder, or s3://BUCKET[/PREFIX]")
        return
    for name in ("store_endpoint", "store_queue", "store_topic"):
        value = getattr(settings, name)
        if value is not None:
            yield line(name, value, f"none, since {variable('store')} is the folder {settings.store!r}")


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
