from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from frugalrec import array_files
from frugalrec.errors import DataError, MissingExtraError

KINDS = st.sampled_from([np.bool_, np.int8, np.int32, np.int64, np.uint64, np.float32, np.float64])


@settings(max_examples=20)
@given(
    array=KINDS.flatmap(
        lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    )
)
def test_arrays_come_back_bit_for_bit(array: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = str(tmp_path_factory.mktemp("kept") / "one")
    array_files.write(folder, {"a": array, "b.c": np.arange(3)}, {"why": "a test"})
    found, note = array_files.read(folder)
    assert found["a"].dtype == array.dtype
    assert found["a"].shape == array.shape
    np.testing.assert_array_equal(found["a"], array)
    assert found["b.c"].tolist() == [0, 1, 2]
    assert note == {"why": "a test"}


def test_what_is_unfinished_or_damaged_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    array_files.write(str(folder), {"a": np.arange(10)}, {})
    assert array_files.note_of(str(folder)) is not None
    array_files.write(str(tmp_path / "other"), {"a": np.arange(10) + 1}, {})
    (tmp_path / "other" / "a.parquet").replace(folder / "a.parquet")
    with pytest.raises(DataError, match="its checksum is not the one noted"):
        array_files.read(str(folder))
    (folder / "note.json").unlink()
    assert array_files.note_of(str(folder)) is None
    with pytest.raises(DataError, match="not a kept result"):
        array_files.read(str(folder))
    array_files.remove(str(folder))
    array_files.remove(str(folder))
    assert not folder.exists()


@pytest.mark.skipif(find_spec("fsspec") is None, reason="fsspec is not installed")
def test_urls_are_folders_too() -> None:
    url = "memory://bucket/one"
    array_files.write(url, {"a": np.arange(5.0)}, {"n": 1})
    assert array_files.read(url)[0]["a"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert array_files.note_of(url) is not None
    assert array_files.names_in(url) == ["a.parquet", "note.json"]
    assert array_files.joined(url, "x") == "memory://bucket/one/x"
    array_files.remove(url)
    assert array_files.note_of(url) is None
    assert array_files.names_in(url) == []


def test_urls_need_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r"frugalrec\[ray\]"):
        array_files.read("s3://bucket/one")


def test_paths_mean_the_same_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert array_files.absolute("parts") == str(tmp_path / "parts")
    assert array_files.absolute("s3://bucket/parts") == "s3://bucket/parts"
    assert array_files.absolute("") == ""
