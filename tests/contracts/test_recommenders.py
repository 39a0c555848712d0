"""What every recommender of ``frugalrec.recommenders`` does, found by the registry, with text and without."""

import dataclasses

import pytest

from frugalrec import registry
from frugalrec.recommenders.content import Content
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.popularity import Popularity
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.encoders import HashEncoder
from frugalrec.testing.recommenders import CHECKS


def build(name, *, text, storage=""):
    """Build a recommender with the collaborators its fields ask for; those it can do without, only with ``text``."""
    given = {"storage": storage, "rescored": 5} if storage else {}
    for option, declared in registry.settings_of(registry.load("recommender", name)).items():
        kind = registry.kind_of(str(declared.type))
        needed = declared.default is dataclasses.MISSING
        if kind == "encoder" and (needed or text):
            given[option] = HashEncoder()
        elif kind == "recommender" and needed:
            members = (Popularity(), Content(HashEncoder()))
            given[option] = members if "tuple" in str(declared.type) else Ease()
    return registry.build("recommender", name, given)


def variants():
    for name in registry.names("recommender"):
        fields = list(registry.settings_of(registry.load("recommender", name)).values())
        yield name, False, ""
        if any(registry.kind_of(str(f.type)) == "encoder" and f.default is None for f in fields):
            yield name, True, ""
        if any(f.name == "storage" for f in fields):
            yield name, False, "two-level"


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset(n_users=30, n_items=24, cold=3)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("name", "text", "storage"), list(variants()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_contract(name, text, storage, check, dataset):
    missing = registry.missing_extra("recommender", name)
    if missing:
        pytest.skip(f"needs the extra '{missing}'")
    check(lambda: build(name, text=text, storage=storage), dataset)
