"""What an asset may be made of, and that no secret of its sources shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_assets import DATA, file_of

from frugalrec.assets import AssetFile
from frugalrec.assets._sources import redacted
from frugalrec.errors import ConfigError


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\\b"])
def test_a_file_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="plain file name"):
        file_of(DATA, name=name)


def test_a_checksum_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        AssetFile("toy", "abc", 1, ())


@given(st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="@:%"), min_size=4))
def test_credentials_never_show(secret: str) -> None:
    secret = f"s3cr3t{secret}"
    text = f"cannot reach 'https://me:{secret}@host.example/a.zip?sig={secret}' (https://{secret}@host.example)"
    assert secret not in redacted(text)
