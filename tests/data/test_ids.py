from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.data.ids import IdMap
from frugalrec.errors import UnknownNameError

ids = st.lists(st.text(min_size=1), unique=True)


@given(ids)
def test_codes_and_ids_are_inverse(listed: list[str]) -> None:
    known = IdMap(listed)
    assert len(known) == len(listed)
    assert [known.code(i) for i in listed] == list(range(len(listed)))
    codes = known.codes(listed)
    assert codes.dtype == np.int32
    assert known.ids[codes].tolist() == listed


def test_unknown_ids_have_code_minus_one() -> None:
    assert IdMap(["a", "b"]).codes(["b", "c", "a"]).tolist() == [1, -1, 0]
    assert IdMap(["a"]).codes([]).tolist() == []


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown user 'alcie'") as caught:
        IdMap(["alice", "bob"], what="user").code("alcie")
    assert caught.value.hint == "did you mean 'alice'?"


def test_large_maps_are_not_searched_for_a_suggestion() -> None:
    large = IdMap([f"user-{i}" for i in range(20_001)], what="user")
    with pytest.raises(UnknownNameError) as caught:
        large.code("user-x")
    assert caught.value.hint == ""


def test_ids_may_come_as_an_array() -> None:
    for array in (np.array(["x", "y"]), np.array(["x", "y"], dtype=object)):
        known = IdMap(array)
        assert known == IdMap(["x", "y"])
        assert known.ids.dtype == object
        assert type(known.ids[0]) is str


def test_equality_is_by_content_and_order() -> None:
    assert IdMap(["a", "b"]) == IdMap(["a", "b"], what="item")
    assert IdMap(["a", "b"]) != IdMap(["b", "a"])
    assert IdMap(["a"]) != IdMap(["a", "b"])
    assert IdMap(["a"]) != ["a"]
    with pytest.raises(TypeError, match="unhashable"):
        hash(IdMap(["a"]))


@given(ids, st.lists(st.text(min_size=1)))
def test_extending_adds_what_is_new_at_the_end(listed: list[str], more: list[str]) -> None:
    known = IdMap(listed, what="item")
    extended = known.extended(more)
    assert extended.ids[: len(listed)].tolist() == listed
    assert set(extended.ids) == {*listed, *more}
    assert len(set(extended.ids)) == len(extended)
    assert extended.what == "item"
    assert (extended is known) == (set(more) <= set(listed))


def test_membership() -> None:
    assert "a" in IdMap(["a"])
    assert "b" not in IdMap(["a"])
    assert 0 not in IdMap(["a"])
