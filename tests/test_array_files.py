from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from frugalrec import array_files
from frugalrec.errors import ConfigError, DataError, MissingExtraError

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
    assert array_files.absolute(f"file://{tmp_path}/parts") == str(tmp_path / "parts")


def test_what_a_killed_writer_leaves_is_no_parquet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(source: str, target: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        array_files.write(str(tmp_path / "one"), {"a": np.arange(3)}, {})
    assert list((tmp_path / "one").iterdir())
    assert not list((tmp_path / "one").glob("*.parquet"))


@pytest.mark.skipif(find_spec("fsspec") is None, reason="fsspec is not installed")
def test_files_and_folders_of_a_url_are_copied_for_a_while() -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe_file("/shop/day=1/a.csv", b"one")
    files.pipe_file("/shop/b.csv", b"two")
    with array_files.copied("memory://shop") as folder:
        assert folder.name == "shop"
        assert (folder / "day=1" / "a.csv").read_bytes() == b"one"
        assert (folder / "b.csv").read_bytes() == b"two"
    assert not folder.exists()
    with array_files.copied("memory://shop/b.csv") as file:
        assert (file.name, file.read_bytes()) == ("b.csv", b"two")
    files.store["/shop/../../escaped.csv"] = files.store["/shop/b.csv"]
    with pytest.raises(DataError, match="leads out of its folder"):
        array_files.copied("memory://shop").__enter__()
    del files.store["/shop/../../escaped.csv"]
    with pytest.raises(DataError, match="memory://nothing: expected a file or a folder, found none"):
        array_files.copied("memory://nothing").__enter__()


@pytest.mark.skipif(find_spec("fsspec") is None, reason="fsspec is not installed")
def test_addresses_that_nothing_answers_to_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="nope://x cannot be reached: Protocol not known: nope"):
        array_files.file_system("nope://x")
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"s3://bucket cannot be reached: .*s3fs"):
        array_files.file_system("s3://bucket")
