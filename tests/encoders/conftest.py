from __future__ import annotations

import pytest

from frugalrec import assets
from frugalrec.errors import AssetError


@pytest.fixture(scope="session")
def minilm() -> assets.FetchedAsset:
    """The default encoder's files; fetched when they are not in the cache."""
    try:
        return assets.fetch("all-minilm-l6-v2-int8")
    except AssetError as error:
        pytest.fail(f"these tests need the default encoder's weights: {error}", pytrace=False)
