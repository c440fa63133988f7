"""`driftline models`: what serves on an edge, what lies in the store, and how both are steered."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import httpx
import msgspec
import typer
from rich.table import Table

from driftline import definition
from driftline import manifest as manifests
from driftline.errors import InvalidInput, NotFound, Unavailable
from driftline.importing import Meaning, import_model
from driftline.manifest import ColumnScaling, Manifest, Pointer, Quarantine, Usage
from driftline.members import MODELS
from driftline.ports import open_store
from driftline.settings import Settings, read_settings
from driftline.signing import Sealed, unseal
from driftline.store import Store
from driftline.version_files import MANIFEST_LIMIT, file_of, find
from driftline_cli import tokens
from driftline_cli.commands.plainly import console, plainly
from driftline_inference.settings import InferenceSettings
from driftline_trainer.settings import TrainerSettings

T = TypeVar("T")
S = TypeVar("S", bound=Settings)
TIMEOUT_S = 30.0
BYTES = 1024

app = typer.Typer(help="Models: what serves, what lies in the store, and how both are steered.", no_args_is_help=True)
Model = Annotated[str, typer.Argument(help="STREAM.MEMBER, such as outdoor-temperature.batch.", metavar="MODEL")]
Inference = Annotated[str, typer.Option(help="Address of inference.", envvar="DRIFTLINE_INFERENCE")]
Token = Annotated[str | None, typer.Option(envvar="DRIFTLINE_TOKEN", help="Inference's bearer token.")]
StoreUrl = Annotated[str | None, typer.Option(help="A folder, or s3://BUCKET[/PREFIX]; else DRIFTLINE_STORE.")]
Version = Annotated[str | None, typer.Option(help="A version such as v000042-0123456789ab; else the current one.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="For scripts.")]
EDGE = "http://127.0.0.1:8002"


@app.command("list")
def list_models(inference: Inference = EDGE, json: AS_JSON = False) -> None:  # noqa: FBT002
    """Shows which models serve on an edge, which wait, and which were refused and why.

    Example: driftline models list --json
    """
    body = _run(_ask(inference, "GET", "/v1/models"))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(body)).decode())
        return
    table = Table("model", "version", "since", "behind", "why it serves", title="Models", title_justify="left")
    for model in body["models"]:
        table.add_row(*_row(model))
    console.print(table)
    refused = [(_name(model), *pair) for model in body["models"] for pair in model["refused"].items()]
    for name, version, reason in refused:
        console.print(f"refused: {name} {version}: {reason}", style="red", markup=False, soft_wrap=True)


def _name(model: Any) -> str:
    return f"{model['stream']}.{model['member']}"


def _row(model: Any) -> tuple[str, ...]:
    version = f"{model['version'] or model['state']}{' (pinned)' if model['pinned'] else ''}"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(model["swapped"])) if model["swapped"] else ""
    behind = f"{model['lag']['versions']} versions, {model['lag']['seconds']:.0f} s" if model["candidate"] else ""
    return _name(model), version, since, behind, model["note"]


@app.command()
def rollback(
    model: Model,
    version: Annotated[str, typer.Option(help="The version that is left.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "rolled back by hand",
    inference: Inference = EDGE,
    token: Token = None,
) -> None:
    """Goes back to the version before, and keeps every edge from serving the one that is left.

    Example: driftline models rollback outdoor-temperature.speed --version v000042-0123456789ab --reason "too noisy"
    """
    asked = {"version": version, "reason": reason}
    answer = _run(_ask(inference, "POST", f"/v1/models/{model}/rollback", token=token, json=asked))
    console.print(f"{model}: {answer['version']} serves", markup=False)


@app.command()
def pin(
    model: Model,
    version: Annotated[str | None, typer.Argument(help="The version that stays.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Follow the store's pointer again.")] = False,  # noqa: FBT002
    inference: Inference = EDGE,
    token: Token = None,
) -> None:
    """Keeps an edge on a version wherever the store's pointer goes, or with --off lets it follow again.

    Example: driftline models pin outdoor-temperature.batch v000042-0123456789ab
    """
    if off == (version is not None):
        raise typer.BadParameter("found both or neither of VERSION and --off, expected one of them")
    answer = _run(_ask(inference, "POST", f"/v1/models/{model}/pin", token=token, json={"version": version}))
    console.print(f"{model}: {answer['version']} serves{', pinned' if answer['pinned'] else ''}", markup=False)


@app.command()
def show(
    model: Model,
    version: Version = None,
    store: StoreUrl = None,
    json: AS_JSON = False,  # noqa: FBT002
) -> None:
    """Shows the versions of a model in the store and who runs them; with --version its manifest.

    Credentials of S3 and the other settings come from the environment, as the services read them.

    Example: driftline models show outdoor-temperature.batch --store s3://driftline
    """
    found = _run(_look(store, *_parts(model), version))
    if json or version is not None:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    table = Table("version", "made", "rows", "skill", "signed by", "notes", title=model, title_justify="left")
    for each in found:
        skill = each.manifest.metrics.get("skill")
        cells = (each.manifest.created, f"{each.manifest.rows:,}", "" if skill is None else f"{skill:+.3f}")
        table.add_row(each.manifest.version, *cells, each.key or "nobody", "; ".join(each.notes))
    console.print(table)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A .tflite model.", exists=True, dir_okay=False)],
    stream: Annotated[Path, typer.Option(help="The stream definition.", exists=True, dir_okay=False)],
    member: Annotated[str, typer.Option(help="Which member it becomes: batch or speed.")] = "batch",
    inputs: Annotated[Literal["lags", "features"], typer.Option(help="What a row holds.")] = "lags",
    columns: Annotated[str, typer.Option(help="Columns of a lag, with commas; else all, the target first.")] = "",
    output: Annotated[Literal["value", "difference"], typer.Option(help="What it answers.")] = "value",
    scaling: Annotated[Path | None, typer.Option(help="JSON with offset, scale, target_offset, target_scale.")] = None,
    store: StoreUrl = None,
) -> None:
    """Wraps a model that was made elsewhere in a manifest, publishes and points at it.

    A row holds the newest records, the oldest first (lags), or Driftline's own features. It is signed with the key of
    DRIFTLINE_SIGNING_KEY_FILE.

    Example: driftline models import lstm.tflite --stream streams/outdoor-temperature.yaml
    """
    wanted = tuple(filter(None, (name.strip() for name in columns.split(","))))
    meaning = Meaning(inputs, wanted, output, _scaling(scaling) if scaling else "inside")
    made = _run(_import(stream, member, file.read_bytes(), meaning, store))
    console.print(f"{made.stream}.{made.member}: published {made.version}", markup=False)


@app.command()
def verify(model: Model, version: Version = None, store: StoreUrl = None) -> None:
    """Checks a version in the store as an edge would before serving it: signature, content, shapes, golden outputs.

    Example: driftline models verify outdoor-temperature.batch --version v000042-0123456789ab
    """
    console.print(_run(_verify(*_parts(model), version, store)), markup=False, soft_wrap=True)


@dataclass(frozen=True)
class Found:
    """A version in the store. key: who signed it."""

    manifest: Manifest
    key: str | None
    notes: list[str]


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Says what is wrong in one sentence instead of a stack trace."""
    with plainly():
        return asyncio.run(work)


async def _ask(url: str, method: str, path: str, *, token: str | None = None, json: Any = None) -> Any:
    async with httpx.AsyncClient(base_url=url, headers=tokens.headers(url, token), timeout=TIMEOUT_S) as client:
        answer = await client.request(method, path, json=json)
    if answer.is_error:
        # Only what is away may succeed later.
        kind = Unavailable if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else InvalidInput
        raise kind(f"inference says {answer.status_code}: {answer.json().get('detail', answer.text)}")
    return answer.json()


def _parts(model: str) -> tuple[str, str]:
    stream, _, member = model.rpartition(".")
    if not stream or member not in MODELS:
        raise typer.BadParameter(f"found model {model!r}, expected STREAM.MEMBER with a member of {', '.join(MODELS)}")
    return stream, member


def _settings(kind: type[S], store: str | None) -> S:
    return read_settings(kind, **({"store": store} if store else {}))


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store]:
    store = open_store(settings)
    try:
        yield store
    finally:
        await store.close()


async def _current(store: Store, stream: str, member: str) -> str | None:
    try:
        return (await find(store, manifests.pointer_key(stream, member), Pointer, "pointer")).version
    except NotFound:
        return None


async def _look(url: str | None, stream: str, member: str, version: str | None) -> Any:
    settings = _settings(Settings, url)
    async with _opened(settings) as store:
        if version is not None:
            return await _found(store, stream, member, version, {})
        notes = await _notes(store, stream, member)
        prefix = f"{manifests.folder(stream, member)}/v"
        names = sorted({listed.key.split("/")[3] async for listed in store.list(prefix)}, reverse=True)
        found = [await _found(store, stream, member, name, notes) for name in names]
        if not found:
            raise NotFound(f"found no version of {stream}.{member} in {settings.store}")
        return found


async def _found(store: Store, stream: str, member: str, version: str, notes: dict[str, list[str]]) -> Found:
    described = await file_of(store, manifests.manifest_key(stream, member, version), MANIFEST_LIMIT, "manifest")
    return Found(unseal(described), manifests.decode(described, Sealed, "manifest").key, notes.get(version, []))


async def _notes(store: Store, stream: str, member: str) -> dict[str, list[str]]:
    """By version what there is to say of it: current, quarantined, used by whom."""
    notes: dict[str, list[str]] = {}
    pointed = await _current(store, stream, member)
    if pointed is not None:
        notes.setdefault(pointed, []).append("current")
    async for listed in store.list(manifests.quarantine_key(stream, member, "")[: -len(".json")]):
        mark = await find(store, listed.key, Quarantine, "quarantine")
        notes.setdefault(mark.version, []).append(f"quarantined: {mark.reason}")
    async for listed in store.list(manifests.usage_prefix(stream, member)):
        usage = await find(store, listed.key, Usage, "usage")
        notes.setdefault(usage.version, []).append(f"{'pinned on' if usage.pinned else 'serves on'} {_edge(usage)}")
    return notes


def _edge(usage: Usage) -> str:
    """Its name, which may be another edge's, too, and its id."""
    return f"{usage.name} ({usage.edge})" if usage.name else usage.edge


def _scaling(path: Path) -> ColumnScaling:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ColumnScaling)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{path}: expected JSON with offset, scale, target_offset, target_scale: {error}"
        raise typer.BadParameter(message) from error


async def _import(stream: Path, member: str, model: bytes, meaning: Meaning, url: str | None) -> Manifest:
    if member not in MODELS:
        raise InvalidInput(f"found member {member!r}, expected one of {list(MODELS)}")
    settings = _settings(TrainerSettings, url)
    async with _opened(settings) as store:
        return await import_model(
            store, definition.load(stream), member, model, meaning, signer=settings.signer(), now=time.time()
        )


async def _verify(name: str, member: str, version: str | None, url: str | None) -> str:
    settings = _settings(InferenceSettings, url)
    streams = definition.load_folder(settings.streams)
    if name not in streams:
        raise InvalidInput(f"found stream {name!r}, expected one of {sorted(streams)}")
    async with _opened(settings) as store:
        wanted = version or await _current(store, name, member)
        if wanted is None:
            raise NotFound(f"found no current version of {name}.{member}, expected one")
        fetched = await settings.fetcher().fetch(store, streams[name], member, wanted)
    size = len(fetched.model_file) / BYTES
    return f"{name}.{member} {wanted}: {size:.0f} KiB, signed, whole, and gives its golden outputs"
