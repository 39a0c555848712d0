"""Arrays in a .safetensors file: a length, a JSON header, and the bytes one after another.

The format is a page long (https://huggingface.co/docs/safetensors), holds nothing that runs, and its own package is
needed by nothing else in the core.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec.errors import AssetError

_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}
_AGAIN = "fetch or export it again"

Arrays = dict[str, np.ndarray[Any, Any]]


def read_safetensors(path: Path) -> Arrays:
    """Return the arrays by name, mapped from the file; raises `AssetError` for what is no such file, or BF16 in it."""
    try:
        mapped = np.memmap(path, dtype=np.uint8, mode="r")
        length = int(mapped[:8].view("<u8")[0])
        if 8 + length > mapped.size:
            raise ValueError("its header is cut off")
        header = json.loads(mapped[8 : 8 + length].tobytes())
        found: Arrays = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if entry["dtype"] not in _TYPES:
                raise ValueError(f"'{name}' is of type {entry['dtype']}, which numpy has not")
            start, stop = (8 + length + int(offset) for offset in entry["data_offsets"])
            if not 8 + length <= start <= stop <= mapped.size:
                raise ValueError(f"'{name}' is cut off")
            found[name] = mapped[start:stop].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
        return found
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise AssetError(f"{path}: not a readable safetensors file: {error}", hint=_AGAIN) from error


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write ``arrays`` to ``path``, whole or not at all."""
    header: dict[str, Any] = {}
    offset = 0
    for name, array in arrays.items():
        stop = offset + array.nbytes
        dtype = _NAMES[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, stop]}
        offset = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    written = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with written.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for array in arrays.values():
                file.write(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
        os.replace(written, path)
    finally:
        written.unlink(missing_ok=True)


__all__ = ["Arrays", "read_safetensors", "write_safetensors"]
