"""What memory a fit takes at its peak, to test the formula of a component (``expected``) against."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset
from frugalrec.data.shape import DataShape
from frugalrec.usage import give_back_memory


def peaks_of_fit(component: Callable[[], Any], data: Callable[[], Dataset]) -> tuple[float | None, float | None]:
    """Return the bytes that a fit should take at its peak, and those it took; None where nobody can tell.

    It is measured in a process of its own: what others freed would be used again, and not be seen. Hence what makes
    ``component`` and ``data`` goes there by name: a class, a function of a module, or a `functools.partial` of one. An
    ``encoder`` of the component has encoded before, as in a pipeline, where that is a stage of its own.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        return alone.submit(_peaks_here, component, data).result()


def _peaks_here(component: Callable[[], Any], data: Callable[[], Dataset]) -> tuple[float | None, float | None]:
    dataset = data()
    log = dataset.interactions
    _ = log.offsets, log.popularity, log.matrix()  # kept by whoever is first to ask for them
    model = component()
    expected = model.expected(DataShape.of(dataset)).fit.peak_bytes
    if getattr(model, "encoder", None) is not None:
        model.encoder.encode(dataset.catalog.texts())
    ledger = Ledger()
    give_back_memory()
    with ledger.span("fit"):
        model.fit(dataset)
    return expected, ledger.entries[0].cost.peak_bytes


__all__ = ["peaks_of_fit"]
