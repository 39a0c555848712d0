from __future__ import annotations

import pickle

import pytest

from frugalrec import errors
from frugalrec.errors import FrugalrecError, MissingExtraError, UnknownNameError, nearest

BUILTINS = {
    "DataError": ValueError,
    "ConfigError": ValueError,
    "UnknownNameError": KeyError,
    "NotFittedError": RuntimeError,
    "MissingExtraError": ImportError,
    "AssetError": OSError,
    "PriceError": LookupError,
    "BudgetError": RuntimeError,
}


def test_every_error_is_ours_and_a_builtin_and_in_the_drawing() -> None:
    assert {e.__name__ for e in FrugalrecError.__subclasses__()} == set(BUILTINS)
    for name, builtin in BUILTINS.items():
        assert issubclass(getattr(errors, name), builtin)
        assert f"{name} " in (errors.__doc__ or "")
        assert f"({builtin.__name__})" in (errors.__doc__ or "")


@pytest.mark.parametrize("name", BUILTINS)
def test_message_and_hint_are_printed_and_survive_another_process(name: str) -> None:
    error = getattr(errors, name)("three columns expected, two came", hint="add the third")
    # KeyError and OSError print themselves in ways of their own, which must not show.
    assert str(error) == "three columns expected, two came\nhint: add the third"
    assert str(getattr(errors, name)("no hint")) == "no hint"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  as multiprocessing does
    assert (str(again), again.message, again.hint) == (str(error), error.message, error.hint)


def test_an_unknown_name_names_the_nearest() -> None:
    error = UnknownNameError.of("metric", "NDGC", ["ndcg", "recall"], where="config.toml")
    assert error.message == "unknown metric 'NDGC' in config.toml"
    assert error.hint == "did you mean 'ndcg'?"


def test_an_unknown_name_lists_what_is_known_when_nothing_is_near() -> None:
    assert UnknownNameError.of("split", "zzz", ["b", "a"]).hint == "known: a, b"
    many = UnknownNameError.of("item", "zzz", [f"{i:02}" for i in range(20)]).hint
    assert many.endswith("11, …")
    assert UnknownNameError.of("item", "zzz", []).hint == ""


def test_a_missing_extra_says_how_to_install_it() -> None:
    error = MissingExtraError.of("implicit", "als")
    assert error.message == "'implicit' is not installed"
    assert error.hint == "pip install 'frugalrec[als]'"


def test_nearest() -> None:
    assert nearest("TIMESTMP", ["timestamp", "time"]) == "timestamp"
    assert nearest("user", ["Users"]) == "Users"
    assert nearest("xyz", ["timestamp"]) is None
    assert nearest("xyz", []) is None
