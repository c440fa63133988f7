"""Every key has a folder of its own, whatever it is called."""

from urllib.parse import quote, unquote

from hypothesis import given
from hypothesis import strategies as st

from driftline.store.object_names import LONGEST, folder_of, refusal

KEYS = st.one_of(
    st.text(max_size=210),
    st.text("./%=-~2Ea", max_size=260),
    st.integers(0, 300).map(lambda n: "\U0001f300" * n),
    st.characters(codec=None, categories=["Cs"]),
)


@given(KEYS)
def test_a_folder_is_one_visible_name_that_every_store_takes(key: str):
    folder = folder_of(key)
    assert folder.isascii()
    assert len(folder) <= LONGEST
    assert "/" not in folder
    assert not folder.startswith(".")
    assert key == "" or refusal(f"windows/s/{folder}/w.parquet") is None


@given(KEYS, KEYS)
def test_no_two_keys_share_a_folder(one: str, other: str):
    assert (folder_of(one) == folder_of(other)) == (one == other)


@given(st.text(min_size=1, max_size=80).filter(lambda key: not key.startswith(".")))
def test_a_key_that_made_a_good_folder_before_keeps_it(key: str):
    former = quote(key, safe="")
    if len(former) <= LONGEST:
        assert folder_of(key) == former


@given(st.text(min_size=1, max_size=20))
def test_a_short_key_can_be_read_from_its_folder(key: str):
    assert unquote(folder_of(key)) == key


def test_two_long_keys_that_begin_alike_differ_in_their_hash():
    one, other = folder_of("風" * 200), folder_of("風" * 199 + "雨")
    assert one != other
    assert one[:180] == other[:180]


def test_leading_dots_are_quoted_and_others_stay():
    names = [folder_of(key) for key in (".", "..", ".hidden", "a.b", "..a.b")]
    assert names == ["%2E", "%2E%2E", "%2Ehidden", "a.b", "%2E%2Ea.b"]
