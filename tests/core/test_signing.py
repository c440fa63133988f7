"""Seals: only what a trusted key signed, byte for byte, is believed."""

import stat
from pathlib import Path

import pytest

from driftline.errors import InvalidInput, RefusedModel
from driftline.models.manifest import Manifest
from driftline.models.signing import (
    KEY_FILE,
    PUBLIC_FILE,
    Signer,
    Trust,
    ensure_keys,
    key_id,
    new_key,
    new_keys,
    read,
    seal,
    unseal,
)

SIGNER = Signer(new_key())


def test_what_a_trusted_key_signed_is_unsealed_as_it_was(manifest: Manifest):
    assert unseal(seal(manifest, SIGNER), Trust([Signer(new_key()).public, SIGNER.public])) == manifest


def test_any_flipped_bit_is_noticed(manifest: Manifest):
    sealed, trust = seal(manifest, SIGNER), Trust([SIGNER.public])
    for place in range(0, len(sealed), 7):
        flipped = bytearray(sealed)
        flipped[place] ^= 1
        with pytest.raises(RefusedModel) as refused:
            unseal(bytes(flipped), trust)
        assert refused.value.reason in {"manifest", "signature"}


def test_the_refusal_names_the_keys_that_are_trusted(manifest: Manifest):
    other = Signer(new_key()).public
    with pytest.raises(RefusedModel, match=f"{key_id(SIGNER.public)}.*expected a trusted one: {key_id(other)}"):
        unseal(seal(manifest, SIGNER), Trust([other]))


def test_a_new_pair_of_keys_is_its_owners_alone_and_never_overwritten(tmp_path: Path):
    public = new_keys(tmp_path / "keys")
    private = tmp_path / "keys" / KEY_FILE
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert Signer(read(private)).public == public == read(tmp_path / "keys" / PUBLIC_FILE).strip()
    with pytest.raises(InvalidInput, match="found a key, expected none"):
        new_keys(tmp_path / "keys")


def test_a_pair_that_a_crash_left_half_made_is_completed(tmp_path: Path):
    public = ensure_keys(tmp_path)
    private = read(tmp_path / KEY_FILE)
    (tmp_path / PUBLIC_FILE).unlink()
    (tmp_path / KEY_FILE).with_suffix(".part").write_text("torn")
    assert ensure_keys(tmp_path) == public == read(tmp_path / PUBLIC_FILE).strip()
    assert read(tmp_path / KEY_FILE) == private


def test_what_is_no_key_is_named_but_a_private_one_is_never_shown(tmp_path: Path):
    with pytest.raises(InvalidInput, match="found 'c2hvcnQ=', expected an Ed25519 public key"):
        Trust(["c2hvcnQ="])
    with pytest.raises(InvalidInput, match="expected an Ed25519 private key in PEM") as error:
        Signer("hush")
    assert "hush" not in str(error.value)
    with pytest.raises(InvalidInput, match="found no readable file"):
        read(tmp_path / "none")
