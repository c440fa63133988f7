"""A real PostgreSQL, as Debian has it, on a port of this machine."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
import stamina

from driftline.errors import Unavailable
from driftline_cli.broker import free_port

PROGRAMS = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin"))
SUPERUSER = "postgres"
SETTINGS = ("fsync=off", "max_wal_size=64MB", "shared_buffers=16MB", "autovacuum=off")


class PostgresServer:
    """Its data are in a folder of their own, since root must not own them. Raises Unavailable."""

    def __init__(self) -> None:
        self._bin = next((folder for folder in PROGRAMS if (folder / "initdb").exists()), None)
        if self._bin is None:
            raise Unavailable("PostgreSQL is not here: install Debian's package postgresql")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="driftline-postgres-"))
        self._user = SUPERUSER if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "-D", self._data, "-U", SUPERUSER, "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> "PostgresServer":
        settings = (f"port={self.port}", f"unix_socket_directories={self.folder}", *SETTINGS)
        command: list[str | Path] = [
            self._bin / "postgres",
            "-D",
            self._data,
            *(part for one in settings for part in ("-c", one)),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self.folder)
        self._answers()
        return self

    def kill(self) -> None:
        """As a power cut: no farewell to anybody."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database: str = "postgres", user: str = SUPERUSER) -> psycopg.Connection:
        return psycopg.connect(host="127.0.0.1", port=self.port, dbname=database, user=user, autocommit=True)

    def rows(self, database: str, query: str) -> list[tuple[object, ...]]:
        with self.connect(database) as connection:
            return connection.execute(query.encode()).fetchall()

    def run(self, database: str, *commands: str) -> None:
        with self.connect(database) as connection:
            for command in commands:
                connection.execute(command.encode())

    def require_passwords(self) -> None:
        """Of everybody but the superuser, from the next connection on."""
        rules = f"host all {SUPERUSER} 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self._data / "pg_hba.conf").write_text(rules)
        self.rows("postgres", "SELECT pg_reload_conf()")

    @stamina.retry(on=psycopg.OperationalError, attempts=None, timeout=60, wait_initial=0.05, wait_max=0.2)
    def _answers(self) -> None:
        self.connect().close()

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._bin / program, *arguments]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=self.folder)
