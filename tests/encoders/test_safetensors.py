from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frugalrec.encoders._safetensors import read_safetensors, write_safetensors
from frugalrec.errors import AssetError

ARRAYS = {
    "table": np.arange(12, dtype=np.float32).reshape(3, 4),
    "half": np.array([0.5, -2.0], dtype=np.float16),
    "places": np.array([1, 0, 2], dtype=np.int64),
    "small": np.array([[-128, 127]], dtype=np.int8),
    "none": np.zeros((0, 4), dtype=np.float32),
}


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m.safetensors", ARRAYS)
    found = read_safetensors(tmp_path / "m.safetensors")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_agrees_with_the_library(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy", reason="needs the extra 'torch'")
    write_safetensors(tmp_path / "ours.safetensors", ARRAYS)
    for name, array in library.load_file(tmp_path / "ours.safetensors").items():
        np.testing.assert_array_equal(array, ARRAYS[name])
    library.save_file(ARRAYS, tmp_path / "theirs.safetensors", metadata={"format": "np"})
    found = read_safetensors(tmp_path / "theirs.safetensors")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"\xff" * 100,
        (10**6).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (5).to_bytes(8, "little") + b"nonse",
        (58).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8000]}}  ',
        (57).to_bytes(8, "little") + b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}  ' + b"0000",
    ],
    ids=["empty", "short", "ones", "long header", "list", "no JSON", "cut off", "bfloat16"],
)
def test_what_is_no_such_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(AssetError, match="not a readable safetensors file"):
        read_safetensors(tmp_path / "m.safetensors")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"m\.safetensors"):
        read_safetensors(tmp_path / "m.safetensors")
