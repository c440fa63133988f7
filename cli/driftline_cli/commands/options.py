"""Options that several subcommands take. Nothing heavy is imported here, nor in any other module of this folder: see
`brought_by` in commands/plainly.py."""

from pathlib import Path
from typing import Annotated

import typer

from driftline.names import local_url
from driftline_cli.drift_kinds import Kind

DEFINED = "A definition's file, or a name in DRIFTLINE_STREAMS (else `streams`)."
SENT = "A definition's file, or the name of a stream or source in DRIFTLINE_STREAMS (else `streams`)."
ROWS = "A file of the stream's rows: CSV, JSON, Parquet or line protocol (.lp)."
SourceDefined = Annotated[str, typer.Option("--stream", metavar="STREAM", help=SENT)]
StreamDefined = Annotated[str, typer.Option(metavar="STREAM", help=DEFINED)]
OnlyStream = Annotated[
    str | None, typer.Option("--stream", metavar="STREAM", help="Only this one: its name, or its definition's file.")
]
DataFile = Annotated[Path, typer.Option(help=ROWS, exists=True, dir_okay=False)]
MaybeFile = Annotated[Path | None, typer.Option(help=ROWS, exists=True, dir_okay=False)]
Drift = Annotated[Kind, typer.Option(help="Drift that is added to the data.")]
Seed = Annotated[int, typer.Option(help="Seed of the drift.")]
Ingest = Annotated[str, typer.Option(envvar="DRIFTLINE_INGEST", help="Address of ingest.")]
Inference = Annotated[str, typer.Option(envvar="DRIFTLINE_INFERENCE", help="Address of inference.")]
Combiner = Annotated[str, typer.Option(envvar="DRIFTLINE_COMBINER", help="Address of the combiner.")]
TrainerAt = Annotated[str, typer.Option(envvar="DRIFTLINE_TRAINER", help="Address of the trainer.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]

INGEST = local_url("ingest")
INFERENCE = local_url("inference")
COMBINER = local_url("combiner")
TRAINER = local_url("trainer")
