"""Settings that all services share, from the environment: DRIFTLINE_BROKERS, DRIFTLINE_STORE and so on."""

import os
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails, from_json
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from driftline.errors import InvalidInput
from driftline.service import setting_checks
from driftline.service.access.roles import ROLE_NAMES, OidcClient, OidcTerms, RoleName
from driftline.service.setting_checks import shown, variable
from driftline.service.setting_names import OF_DOORS, slips
from driftline.worker.loop_settings import LoopSettings

SECRETS = "DRIFTLINE_SECRETS"


def _sendable(token: SecretStr) -> SecretStr:
    """A header holds it as it is, whatever client sends it. Raises ValueError."""
    text = token.get_secret_value()
    if not text or not all("!" <= letter <= "~" for letter in text):
        raise ValueError("expected printable ASCII without spaces, as a header can hold it")
    return token


def listed(value: object) -> object:
    """In the environment stands a list with commas."""
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def parsed(value: object) -> object:
    """In the environment stands JSON. Raises ValueError."""
    return from_json(value) if isinstance(value, str) else value


Token = Annotated[SecretStr, AfterValidator(_sendable)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """Where the bus, the store and the stream definitions are, and where to listen."""

    model_config = SettingsConfigDict(
        env_prefix="DRIFTLINE_", env_ignore_empty=True, extra="ignore", secrets_dir=None, hide_input_in_errors=True
    )

    streams: Path = Path("streams")
    """Folder of stream definitions; a new file there becomes a stream while the services run."""
    cloud_streams: Path | None = None
    """Folder of the definitions that came from the cloud; of two streams with one name that in `streams` counts."""
    streams_patience: float = Field(5.0, ge=0, le=240)
    """Seconds that messages of an unknown stream wait for its definition: as long as a new file may take to reach all
    services."""
    brokers: str = "127.0.0.1:9092"
    """Kafka's bootstrap servers."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Protocol of Kafka: `SSL` encrypts, `SASL` needs a name and a password."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How the password is sent to Kafka."""
    kafka_sasl_username: str | None = None
    """User name at Kafka, if it needs one."""
    kafka_sasl_password: SecretStr | None = None
    """Password at Kafka, if it needs one."""
    kafka_ca_file: Path | None = None
    """Certificates in PEM of Kafka's authority; the system's own by default."""
    kafka_cert_file: Path | None = None
    """Certificate in PEM that this client shows to Kafka, if it wants one."""
    kafka_key_file: Path | None = None
    """Its key in PEM, without a password; in the certificate's file by default."""
    partitions: int = Field(4, ge=1)
    """Partitions of every topic, all alike: the unit of scale."""
    replication: int = Field(1, ge=1)
    """Brokers that hold a copy of each new topic."""
    disk: int = Field(6_000_000_000, ge=1_000_000)
    """Bytes that all topics may take in all on a broker that holds a copy of each."""
    session_timeout: float = Field(6.0, gt=0)
    """Seconds without a sign of life after which a worker's partitions go to others."""
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    """`exactly_once` sends outputs inside the checkpoint's transaction, for foreign `read_committed` readers."""
    exactly_once_every: float = Field(0.1, ge=0)
    """Seconds between transactions with `exactly_once`; 0 commits whatever is read at once together."""
    checkpoint_every: float = Field(1.0, gt=0)
    """Seconds between checkpoints of the position, and so of outputs that a crash repeats, at most."""
    state_every: float = Field(60.0, ge=0)
    """Seconds between two times that a series' state is written: a crash has so much input read again, in silence.
    0 writes states with every position."""
    dead_letter_share: float = Field(0.1, gt=0, le=1)
    """Share of unusable messages above which a worker stops."""
    store: str = "./store"
    """A folder, s3://BUCKET[/PREFIX], or the URL of the trainer's door, https://HOST, for an edge that has joined."""
    store_token_file: Path | None = None
    """File of the credential for the trainer's door, as `driftline edge join` writes it."""
    store_token: Token | None = None
    """The same, where it does not change."""
    store_ca_file: Path | None = None
    """Certificates in PEM of the door's authority; by default those that everybody trusts."""
    store_plain: bool = False
    """Whether the door may be reached by http:// beyond this machine, where anybody on the way can read and write."""
    store_endpoint: str | None = None
    """URL of an S3 server other than AWS's."""
    store_region: str = "us-east-1"
    """Region of the bucket and of the queue."""
    store_queue: str | None = None
    """URL of the SQS queue that brings this service's store events."""
    store_topic: str | None = None
    """Kafka topic that the store writes its events to, where it can."""
    edge_id: str | None = Field(None, pattern="^[a-z0-9]{1,64}$")
    """Id of this edge where it has joined a fleet; otherwise it is made at the first start."""
    store_poll: float = Field(30.0, gt=0)
    """Seconds between looks at the store when no event comes."""
    fleet_key_file: Path | None = None
    """File of the fleet's key, 32 bytes or their base64: it seals backups, and the states that an edge leaves in the
    store. Without it none are left there."""
    token: Token | None = None
    """Bearer token for requests that change something; without one, no token is needed."""
    tokens_file: Path | None = None
    """File of named tokens with a role each, as `driftline token` writes it; read again when it changes."""
    oidc_issuer: str | None = None
    """URL of an OpenID Connect issuer whose tokens are taken, too."""
    oidc_audience: str | None = None
    """Audience of such a token: its `aud`."""
    oidc_role_claim: str = "roles"
    """Claim of such a token that has the roles; dots lead into objects, as in `realm_access.roles`."""
    oidc_roles: Annotated[dict[str, RoleName], NoDecode, BeforeValidator(parsed)] = Field(
        default_factory=lambda: dict[str, RoleName](zip(ROLE_NAMES, ROLE_NAMES, strict=True))
    )
    """By value of that claim the role that it gives, as JSON."""
    oidc_client_id: str | None = None
    """Id of a client at that issuer: people can then sign in there with a browser, to read the pages."""
    oidc_client_secret: Token | None = None
    """Secret of that client; none for a public client, for which PKCE is enough."""
    oidc_redirect: str | None = None
    """URL of `/login/callback` as browsers reach it, where a proxy ends TLS; by default as the browser has asked."""
    oidc_scope: str = "openid"
    """Scopes that a sign-in asks for, with spaces, as the issuer needs them to put the roles into its ID token."""
    read: Literal["open", "token"] | None = None
    """Whether reading needs a viewer's token (`token`) or none (`open`). By default it does where a service with
    `tokens_file` or `oidc_issuer` listens beyond its own machine."""
    allow_anonymous: bool = False
    """Whether a service without a token may listen beyond its own machine, so that any client may change something."""
    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` for all of the machine's."""
    port: Port = 8000
    """Port to listen on; 0 takes one that is free."""
    hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(listed)] = ()
    """Names of the public DNS by which the service is reached, with commas; `*.example.org` for all below it, `*` for
    any. Addresses, names without a dot and those of the network at hand (`.local`, `.internal`, `.svc`) need no
    mention."""
    connections: int = Field(512, ge=8)
    """Connections at once; with more, the one that has kept the service waiting longest is closed."""
    head_timeout: float = Field(10.0, gt=0)
    """Seconds that a request's head may take, from its first byte."""
    body_timeout: float = Field(60.0, gt=0)
    """Seconds that a request's whole body may take, and that a client may take to read its answer."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""

    @property
    def store_prefix(self) -> str:
        """In front of every key in the bucket; empty or ending in a slash."""
        prefix = urlsplit(self.store).path.strip("/") if self.store.startswith("s3://") else ""
        return f"{prefix}/" if prefix else ""

    @property
    def store_is_door(self) -> bool:
        """Whether the store is reached by the trainer's door."""
        return self.store.startswith(setting_checks.DOOR)

    @property
    def store_is_folder(self) -> bool:
        return "://" not in self.store

    @property
    def is_local(self) -> bool:
        """Whether nobody beyond this machine reaches the service."""
        return is_loopback(self.host)

    @property
    def knows_callers(self) -> bool:
        """Whether anybody can show who they are."""
        return self.token is not None or self.names_callers

    @property
    def names_callers(self) -> bool:
        """Whether there are roles, and not the one token alone."""
        return self.tokens_file is not None or self.oidc_issuer is not None

    @property
    def is_closed(self) -> bool:
        """Whether reading needs a viewer."""
        return self.read == "token" or (self.read is None and self.names_callers and not self.is_local)

    def oidc_terms(self) -> OidcTerms | None:
        if self.oidc_issuer is None or self.oidc_audience is None:
            return None
        client = self._oidc_client()
        return OidcTerms(self.oidc_issuer, self.oidc_audience, self.oidc_role_claim, self.oidc_roles, client)

    def _oidc_client(self) -> OidcClient | None:
        if self.oidc_client_id is None:
            return None
        secret = self.oidc_client_secret.get_secret_value() if self.oidc_client_secret is not None else None
        return OidcClient(self.oidc_client_id, secret, self.oidc_redirect, self.oidc_scope)

    def contradictions(self) -> Iterator[str]:
        """What can't be meant together, a line each. Services add theirs."""
        yield from setting_checks.of_kafka(self)
        yield from setting_checks.of_store(self)
        yield from setting_checks.of_access(self)
        yield from setting_checks.of_environment(os.environ)

    def doubts(self) -> Iterator[str]:
        """What may be a mistake, a line each. Services add theirs."""
        folder = os.environ.get(SECRETS)
        yield from setting_checks.of_expiry("kafka", self)
        yield from slips(os.environ, type(self).model_fields)
        yield from slips((path.name for path in Path(folder or "nowhere").glob("driftline_*")), type(self).model_fields)

    @property
    def loop(self) -> LoopSettings:
        """How the workers read and commit."""
        return LoopSettings(
            checkpoint_every=self.checkpoint_every,
            state_every=self.state_every,
            exactly_once=self.delivery == "exactly_once",
            exactly_once_every=self.exactly_once_every,
            dead_letter_share=self.dead_letter_share,
        )


S = TypeVar("S", bound=Settings)


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_settings(kind: type[S], service: str | None = None, /, **given: Any) -> S:
    """The settings as the environment gives them, but for what is `given`. Raises InvalidInput: a line a mistake.

    service: where several share a process, DRIFTLINE_<SERVICE>_PORT and the like go before DRIFTLINE_PORT.

    DRIFTLINE_SECRETS names a folder of files such as driftline_token, each with the value of a setting: what must not
    stand in an environment.
    """
    folder = os.environ.get(SECRETS) or None
    if folder is not None and not (Path(folder).is_dir() and os.access(folder, os.R_OK | os.X_OK)):
        raise InvalidInput(f"{SECRETS}: found {folder!r}, expected a folder that can be read")
    own = _of_door(service) if service else {}
    given |= {name: os.environ[variable] for name, variable in own.items()}
    try:
        settings = kind(_secrets_dir=folder, **given)
    except ValidationError as error:
        raise InvalidInput("\n".join(_mistake(kind, detail, own) for detail in error.errors())) from error
    except (SettingsError, UnicodeDecodeError, OSError) as error:
        # A file that can't be read. Its content may be a secret, so nothing of it is shown.
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        where = getattr(error, "filename", None) or folder
        raise InvalidInput(f"{SECRETS}: found {where!r}, expected files of text that can be read: {reason}") from None
    wrong = list(settings.contradictions())
    if wrong:
        raise InvalidInput("\n".join(wrong))
    return settings


def _of_door(service: str) -> dict[str, str]:
    """By setting the variable that gives it to this service alone."""
    own = {name: variable(f"{service}_{name}") for name in OF_DOORS}
    return {name: variable for name, variable in own.items() if os.environ.get(variable)}


def _mistake(kind: type[Settings], error: ErrorDetails, own: Mapping[str, str]) -> str:
    name = str(error["loc"][0])
    is_secret = SecretStr.__name__ in repr(kind.model_fields[name])
    value = "a secret that is not shown" if is_secret else shown(error["input"])
    return f"{own.get(name) or variable(name)}: found {value}: {error['msg'].removeprefix('Value error, ')}"
