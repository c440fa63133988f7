"""Signed notes: what was signed is read, and nothing else."""

import gzip

import msgspec
import pytest

from driftline.errors import RefusedNote
from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.names import edge_of, heartbeat_key
from driftline.fleet.notes import NOTE_LIMIT, SignedNote, opened, packed, sealed
from driftline.models.signing import Signer, Trust, new_key

BEAT = Heartbeat(edge="a1", name="pi-7", boot="x", number=1, started=1.0, at=2.0, every=60.0, software="0.2.0")


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer(new_key())


def test_what_was_signed_is_read(signer: Signer) -> None:
    assert opened(sealed(BEAT, signer), Heartbeat, Trust([signer.public])) == BEAT


def test_a_changed_note_is_refused(signer: Signer) -> None:
    changed = sealed(BEAT, signer).replace(b"pi-7", b"pi-8")
    with pytest.raises(RefusedNote, match="signature of other content"):
        opened(changed, Heartbeat, Trust([signer.public]))


def test_a_note_by_another_key_is_refused(signer: Signer) -> None:
    with pytest.raises(RefusedNote, match="expected a trusted one"):
        opened(sealed(BEAT, Signer(new_key())), Heartbeat, Trust([signer.public]))


def test_an_unsigned_note_is_refused_where_signatures_are_expected(signer: Signer) -> None:
    with pytest.raises(RefusedNote, match="found no signature"):
        opened(sealed(BEAT, None), Heartbeat, Trust([signer.public]))


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b'{"note": {"edge": 7}}', b'{"note": 1}'])
def test_garbage_is_refused(payload: bytes) -> None:
    with pytest.raises(RefusedNote):
        opened(payload, Heartbeat, None)


def test_a_field_of_a_later_release_is_passed_over() -> None:
    later = msgspec.Raw(msgspec.json.encode(msgspec.to_builtins(BEAT) | {"mood": "fine"}))
    assert opened(msgspec.json.encode(SignedNote(later)), Heartbeat, None) == BEAT


@pytest.mark.parametrize("key", ["edges/a1/x.json", "edges/a1", "models/a1.json", "edges/x/../a1.json"])
def test_other_objects_are_no_heartbeats(key: str) -> None:
    assert edge_of(key) is None
    assert edge_of(heartbeat_key("a1")) == "a1"


def test_a_packed_note_is_read_and_the_same_note_packs_to_the_same_file(signer: Signer) -> None:
    file = sealed(BEAT, signer)
    assert packed(file) == packed(file)
    assert opened(packed(file), Heartbeat, Trust([signer.public])) == BEAT


@pytest.mark.parametrize("payload", [b"\x1f\x8b", b"\x1f\x8bgarbage that is no gzip", packed(b"[]"), packed(b"")])
def test_packed_garbage_is_refused(payload: bytes) -> None:
    with pytest.raises(RefusedNote):
        opened(payload, Heartbeat, None)


def test_a_small_file_that_unpacks_to_a_large_one_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * (NOTE_LIMIT + 1))
    assert len(bomb) < NOTE_LIMIT // 100
    with pytest.raises(RefusedNote, match="more than 262144 bytes"):
        opened(bomb, Heartbeat, None)
