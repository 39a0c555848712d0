"""What every rating model of ``frugalrec.rating_models`` does, found by the registry."""

import pytest

from frugalrec import registry
from frugalrec.interfaces import RatingModel
from frugalrec.testing.data import toy_ratings
from frugalrec.testing.rating_models import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", registry.names("rating-model"))
def test_contract(name, check):
    check(lambda: registry.build("rating-model", name, {}), toy_ratings())


@pytest.mark.parametrize("name", registry.names("rating-model"))
def test_is_a_rating_model(name):
    assert isinstance(registry.build("rating-model", name, {}), RatingModel)
