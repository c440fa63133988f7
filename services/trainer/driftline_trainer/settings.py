"""Settings of the trainer."""

import re
from collections.abc import Iterator
from pathlib import Path
from socket import gethostname
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from driftline.fleet import keys
from driftline.models.signing import Trust, read
from driftline.names import PORTS
from driftline.service.model_settings import SigningSettings
from driftline.service.setting_checks import line, variable
from driftline.service.settings import Port, listed
from driftline.streams.bounds import MEBIBYTE, TableBounds
from driftline.streams.definition_values import Stage
from driftline.streams.model_sections import ALL_EDGES
from driftline_trainer.days.table import size_of
from driftline_trainer.process import Device
from driftline_trainer.unpacking import Means


class TrainerSettings(SigningSettings):
    """What a job may read and how many are remembered, beside what all services share."""

    port: Port = PORTS["trainer"]
    data_dir: Path = Path("data")
    """Folder of history files that a job may name."""
    versions_kept: int = Field(10, ge=2)
    """Versions of each model that stay in the store, in addition to those that are in use or pinned somewhere."""
    jobs_remembered: int = Field(1000, ge=1)
    """Ended jobs that `GET /v1/jobs` still lists."""
    retrain_interval: float = Field(60.0, ge=0)
    """Seconds that pass at least between two retrainings of a stream that nobody asked for."""
    retrains_per_day: int = Field(500, ge=1)
    """Retrainings of a stream that nobody asked for, in any 24 hours; counted among the jobs that are remembered."""
    trainer_name: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,100}$")
    """Name of this trainer among others on the same store; host name and port by default."""
    trainer_lease: float = Field(60.0, gt=0)
    """Seconds without a sign of life after which another trainer takes over this one's jobs."""
    train_on: str | None = Field(None, pattern=r"^ray://[A-Za-z0-9.:_\[\]-]+:[0-9]+$")
    """`ray://HOST:PORT` of a Ray cluster that trains, one task a job; by default a child process of the trainer."""
    train_at_once: int = Field(8, ge=1, le=1000)
    """Jobs that a Ray cluster gets at once, of different streams."""
    train_device: Device = "auto"
    """`auto` trains on a GPU where TensorFlow finds one; `cpu` never."""

    fleet_limit: int = Field(5000, ge=1)
    """Edges that `GET /v1/fleet` shows at most."""
    fleet_metrics: int = Field(100, ge=0)
    """Edges that have a metric of their own; all count in those of the fleet."""

    rollout_poll: float = Field(30.0, gt=0)
    """Seconds between two looks at what edges say of new versions."""

    trusted_keys: str = ""
    """Further Ed25519 public keys in base64, with commas between, such as one that signed before: edges that join
    believe them, and so does the trainer in what the store says of the fleet."""
    trusted_keys_file: Path | None = None
    """The same, one a line."""
    fleet_key: SecretStr | None = None
    """32 bytes in base64 with which edges encrypt what they leave in the store; edges get it when they join."""
    fleet_key_file: Path | None = None
    """The same, in a file, which is made when it is needed first."""
    credential_days: float = Field(30.0, gt=0)
    """Days after which an edge makes a new credential for the door of the store."""
    definitions_stages: Annotated[tuple[Stage, ...], NoDecode, BeforeValidator(listed)] = ("1", "10%", ALL_EDGES)
    """So many edges, or such a share of them, take in a change of the definitions one stage after the other; with
    commas, the last of them `100%`."""
    definitions_hold: float = Field(600.0, ge=0)
    """Seconds that such a stage lasts at least."""

    window_bytes: int = Field(16 * MEBIBYTE, ge=1)
    """Bytes of an archived window at most; a larger one is set aside."""
    history_bytes: int = Field(128 * MEBIBYTE, ge=1)
    """Bytes of a history file at most; a larger one is refused, or set aside where no job names it."""
    file_rows: int = Field(TableBounds.rows, ge=1)
    """Rows of a window or history file at most."""
    file_row_groups: int = Field(TableBounds.row_groups, ge=1)
    """Row groups of a Parquet file at most."""
    file_columns: int = Field(TableBounds.columns, ge=1)
    """Columns of a window or history file at most, unused ones included."""
    file_unpacked: int = Field(TableBounds.unpacked, ge=1)
    """Bytes at most that the rows of a file take in memory."""
    file_keys: int = Field(TableBounds.keys, ge=1)
    """Series in a window or history file at most."""
    file_key_length: int = Field(TableBounds.key_length, ge=1)
    """Characters of a key at most."""
    file_line: int = Field(TableBounds.line, ge=1)
    """Bytes of a line of CSV at most."""
    unpacking_memory: int = Field(512 * MEBIBYTE, ge=64 * MEBIBYTE)
    """Bytes of memory that unpacking a file may take."""
    unpacking_seconds: int = Field(60, ge=1)
    """Seconds of a processor at most that unpacking a file takes."""
    training_rows: int = Field(2_000_000, ge=1000)
    """Rows that a model learns from at most; of more a sample of all series and times is taken."""

    store_relist: float = Field(600.0, gt=0)
    """Seconds between listings of all windows, where events name those that are new."""
    days_every: float = Field(3600.0, gt=0)
    """Seconds between two times that windows are joined into day files; the first is so long after the start."""
    days_after: float = Field(2.0, ge=0)
    """Days that a day must be over before its windows are joined into a day file."""
    days_unpacked: int = Field(32 * MEBIBYTE, ge=MEBIBYTE)
    """Bytes at most that the rows of a day file take in memory; a further file takes the rest of the day."""
    days_kept: int | None = Field(None, ge=1)
    """Days after which day files are removed; by default none is."""

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        if self.fleet_key is not None and self.fleet_key_file is not None:
            yield line("fleet_key_file", str(self.fleet_key_file), f"none, since {variable('fleet_key')} is set")
        if self.fleet_key is not None and not keys.is_key(self.fleet_key.get_secret_value()):
            yield f"{variable('fleet_key')}: found a secret that is not shown, expected 32 bytes in base64"
        if self.definitions_stages[-1:] != (ALL_EDGES,):
            yield line("definitions_stages", ",".join(self.definitions_stages), f"{ALL_EDGES} as the last stage")

    def handed_out_keys(self) -> list[str]:
        """The public keys that an edge believes: the trainer's own first. Raises InvalidInput for what is no key."""
        signer = self.signer()
        further = [key.strip() for key in self.trusted_keys.split(",")]
        if self.trusted_keys_file is not None:
            further += read(self.trusted_keys_file).split()
        return list(dict.fromkeys(filter(None, [signer.public if signer else "", *further])))

    def fleet_trust(self) -> Trust:
        """Whose notes about the fleet are believed; whoever signs nothing believes what nobody signed."""
        return Trust(self.handed_out_keys(), unsigned=self.signer() is None)

    def fleet_key_bytes(self) -> bytes | None:
        """32 bytes that the fleet shares, where the settings name them. Raises InvalidInput."""
        if self.fleet_key is not None:
            return keys.decoded(self.fleet_key.get_secret_value())
        return keys.ensure(self.fleet_key_file) if self.fleet_key_file is not None else None

    @property
    def means(self) -> Means:
        """What unpacking a file may take."""
        bounds = TableBounds(
            rows=self.file_rows,
            row_groups=self.file_row_groups,
            columns=self.file_columns,
            unpacked=self.file_unpacked,
            keys=self.file_keys,
            key_length=self.file_key_length,
            line=self.file_line,
        )
        return Means(bounds, self.unpacking_memory, self.unpacking_seconds)

    @property
    def day_unpacked(self) -> int:
        """Bytes that the rows of a day file take in memory at most, so that whoever reads it later takes it."""
        # Readers count the columns of time, key, group and stamp, too: twice the bytes at most.
        read = min(self.file_unpacked, self.history_bytes) // 2
        return min(self.days_unpacked, read, size_of(self.file_rows, 1))

    @property
    def holder(self) -> str:
        return self.trainer_name or f"{re.sub('[^A-Za-z0-9._-]', '-', gethostname())}-{self.port}"
