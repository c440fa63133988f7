"""`driftline models`: what serves on an edge, what lies in the store, and how both are steered."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer

from driftline.members import MODELS
from driftline_cli.commands.options import INFERENCE, AsJson, Inference, OnlyStream, StreamDefined
from driftline_cli.commands.plainly import RUNTIME, brought_by, console, plainly, print_json

app = typer.Typer(help="Lists, imports, checks, pins and rolls back models.", no_args_is_help=True)
Model = Annotated[str, typer.Argument(help="STREAM.MEMBER, such as outdoor-temperature.batch.", metavar="MODEL")]
Token = Annotated[str | None, typer.Option(envvar="DRIFTLINE_TOKEN", help="Inference's bearer token.")]
StoreUrl = Annotated[str | None, typer.Option(help="A folder, or s3://BUCKET/PREFIX; else DRIFTLINE_STORE.")]
Version = Annotated[str | None, typer.Option(help="A version such as v000042-0123456789ab; else the current one.")]


@app.command("list")
def list_models(
    inference: Inference = INFERENCE,
    stream: OnlyStream = None,
    json: AsJson = False,  # noqa: FBT002
) -> None:
    """Shows which models serve on an edge, which wait, and which were refused and why.

    Example: driftline models list --json
    """
    with plainly():
        from driftline_cli import chosen, edge  # noqa: PLC0415

        listed = asyncio.run(edge.models(inference, chosen.named(stream)))
        if json:
            print_json(listed)
            return
        console.print(edge.as_table(listed))
        for sentence in edge.refusals(listed):
            console.print(sentence, style="red", markup=False, soft_wrap=True)


@app.command()
def rollback(
    model: Model,
    version: Annotated[str, typer.Option(help="The version that is left.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "rolled back by hand",
    inference: Inference = INFERENCE,
    token: Token = None,
) -> None:
    """Restores the previous version on one edge, and keeps that edge from serving the rolled-back one.

    Others go on; the trainer counts it as evidence. From all edges: driftline rollout abort MODEL

    Example: driftline models rollback outdoor-temperature.speed --version v000042-0123456789ab --reason "too noisy"
    """
    with plainly():
        from driftline_cli import edge  # noqa: PLC0415

        serving = asyncio.run(edge.roll_back(inference, model, token, version, reason))
        console.print(f"{model}: {serving.version} serves", markup=False)


@app.command()
def pin(
    model: Model,
    version: Annotated[str | None, typer.Argument(help="The version that stays.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Follow the store's pointer again.")] = False,  # noqa: FBT002
    inference: Inference = INFERENCE,
    token: Token = None,
) -> None:
    """Keeps an edge on a version whatever the store's pointer says, or with --off lets it follow again.

    Example: driftline models pin outdoor-temperature.batch v000042-0123456789ab
    """
    if off == (version is not None):
        raise typer.BadParameter("found both or neither of VERSION and --off, expected one of them")
    with plainly():
        from driftline_cli import edge  # noqa: PLC0415

        serving = asyncio.run(edge.pin(inference, model, token, version))
        console.print(f"{model}: {serving.version} serves{', pinned' if serving.pinned else ''}", markup=False)


@app.command()
def show(
    model: Model,
    version: Version = None,
    store: StoreUrl = None,
    json: AsJson = False,  # noqa: FBT002
) -> None:
    """Shows the versions of a model in the store and who runs them; with --version its manifest.

    Credentials of S3 and the other settings come from the environment, as the services read them.

    Example: driftline models show outdoor-temperature.batch --store s3://driftline
    """
    with plainly():
        from driftline_cli import versions  # noqa: PLC0415

        described = asyncio.run(versions.look(store, *_parts(model), version))
        if json or version is not None:
            print_json(described)
            return
        console.print(versions.as_table(model, described))


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A .tflite model.", exists=True, dir_okay=False)],
    stream: StreamDefined,
    member: Annotated[str, typer.Option(help="Which member it becomes: batch or speed.")] = "batch",
    inputs: Annotated[Literal["lags", "features"], typer.Option(help="Contents of a row.")] = "lags",
    columns: Annotated[str, typer.Option(help="Columns of a lag, with commas; else all, the target first.")] = "",
    output: Annotated[Literal["value", "difference"], typer.Option(help="Meaning of the output.")] = "value",
    scaling: Annotated[Path | None, typer.Option(help="JSON with offset, scale, target_offset, target_scale.")] = None,
    store: StoreUrl = None,
) -> None:
    """Wraps a model that was made elsewhere in a manifest, and publishes it, to a fleet in the definition's stages.

    A row holds the newest records, the oldest first (lags), or Driftline's own features. It is signed with the key of
    DRIFTLINE_SIGNING_KEY_FILE.

    Example: driftline models import lstm.tflite --stream streams/outdoor-temperature.yaml
    """
    if member not in MODELS:
        raise typer.BadParameter(f"found member {member!r}, expected one of {list(MODELS)}")
    with plainly():
        with brought_by(RUNTIME):
            from driftline_cli import foreign  # noqa: PLC0415
        from driftline.versions.importing import Meaning  # noqa: PLC0415
        from driftline_cli import chosen  # noqa: PLC0415

        wanted = tuple(filter(None, (name.strip() for name in columns.split(","))))
        meaning = Meaning(inputs, wanted, output, foreign.scaling_of(scaling) if scaling else "inside")
        published = asyncio.run(foreign.bring(chosen.defined(stream), member, file.read_bytes(), meaning, store))
        console.print(f"{published.stream}.{published.member}: published {published.version}", markup=False)


@app.command()
def verify(model: Model, version: Version = None, store: StoreUrl = None) -> None:
    """Checks a version in the store as an edge would before serving it: signature, content, shapes, golden outputs.

    Example: driftline models verify outdoor-temperature.batch --version v000042-0123456789ab
    """
    with plainly():
        with brought_by(RUNTIME):
            from driftline_cli import foreign  # noqa: PLC0415

        console.print(asyncio.run(foreign.verify(*_parts(model), version, store)), markup=False, soft_wrap=True)


def _parts(model: str) -> tuple[str, str]:
    stream, _, member = model.rpartition(".")
    if not stream or member not in MODELS:
        raise typer.BadParameter(f"found model {model!r}, expected STREAM.MEMBER with a member of {', '.join(MODELS)}")
    return stream, member
