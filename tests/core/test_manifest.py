"""What makes a version fit to serve."""

import msgspec
import pytest

from driftline.errors import RefusedModel
from driftline.models import manifest as manifests
from driftline.models.manifest import Manifest, Pointer
from driftline.streams.definition import StreamDefinition
from tests.core.conftest import MODEL, VERSION


def refusal(manifest: Manifest, stream: StreamDefinition, model: bytes = MODEL, width: int = 96) -> str | None:
    try:
        manifests.verify(manifest, model, stream=stream, member="batch", version=VERSION, width=width)
    except RefusedModel as error:
        return error.reason
    return None


def test_what_is_as_promised_is_not_refused(manifest: Manifest, temperature: StreamDefinition):
    assert refusal(manifest, temperature) is None


def test_a_manifest_survives_the_store(manifest: Manifest):
    assert manifests.decode(manifests.encode(manifest), Manifest, "manifest") == manifest


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": "v000043-000000000000"}, "manifest"),
        ({"member": "speed"}, "manifest"),
        ({"stream": "active-power"}, "stream"),
        ({"definition": "other"}, "stream"),
        ({"horizon": (1, 6)}, "stream"),
        ({"size": 3}, "size"),
        ({"sha256": "0" * 64}, "sha256"),
        ({"input_shape": (-1, 95)}, "shape"),
        ({"output_shape": (-1, 2)}, "shape"),
    ],
)
def test_each_broken_promise_has_its_reason(manifest, temperature, change: dict[str, object], reason: str):
    assert refusal(msgspec.structs.replace(manifest, **change), temperature) == reason


def test_any_flipped_bit_is_noticed(manifest: Manifest, temperature: StreamDefinition):
    for bit in range(8 * len(MODEL)):
        flipped = bytearray(MODEL)
        flipped[bit // 8] ^= 1 << bit % 8
        assert refusal(manifest, temperature, bytes(flipped)) == "sha256"


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"version": 1}', b"\xff"])
def test_a_pointer_that_is_none_is_refused(payload: bytes):
    with pytest.raises(RefusedModel, match="pointer: expected a Pointer"):
        manifests.decode(payload, Pointer, "pointer")


def test_a_version_names_its_number_and_its_content():
    assert manifests.version_number(VERSION) == 42
    assert manifests.version_name(42, b"other") != VERSION
    with pytest.raises(RefusedModel, match=r"found version '\.\./evil'"):
        manifests.version_number("../evil")
