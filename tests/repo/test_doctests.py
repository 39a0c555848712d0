"""Every example in a docstring is run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from importlib.util import find_spec

import pytest

import frugalrec

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(frugalrec.__path__, "frugalrec.") if m.name != "frugalrec.__main__"
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    module = importlib.import_module(name)
    label, package = getattr(module, "EXTRA", ("", ""))
    if package and find_spec(package) is None:
        pytest.skip(f"needs the extra '{label}'")
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(module, optionflags=options).failed == 0


def test_a_wrong_example_is_noticed() -> None:
    example = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    assert doctest.DocTestRunner(verbose=False).run(example, out=lambda text: None).failed == 1
