"""Data sets by name or by path."""

from pathlib import Path

import pytest

from frugalrec.config import DataSection
from frugalrec.datasets import load_data
from frugalrec.errors import DataError


@pytest.mark.parametrize("written", ["movielens-100k", "MovieLens-100K"])
def test_a_name_where_a_path_is_asked_for(tmp_path: Path, written: str) -> None:
    with pytest.raises(DataError, match="found none") as caught:
        load_data(DataSection(interactions=written), tmp_path)
    assert 'dataset = "movielens-100k"' in caught.value.hint


def test_a_file_may_be_called_like_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "movielens-100k").write_text("user_id,item_id\nu,i\nu,j\n")
    dataset, _ = load_data(DataSection(interactions="movielens-100k", format="csv"), tmp_path)
    assert dataset.n_items == 2
