from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from frugalrec import cost, progress
from frugalrec.cost import Cost, Ledger
from frugalrec.encoders._cached import Cached
from frugalrec.interfaces import Matrix, Role
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.encoders import HashEncoder

TEXTS = [f"title number {'x' * (i % 7)} {i}" for i in range(50)]


@dataclass
class Metered:
    """A hash encoder that charges 3 tokens a text, notes what it encodes, and may be interrupted."""

    stop_after: int | None = None
    label: str = "metered"
    batches: list[list[str]] = field(default_factory=list)

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        if self.stop_after is not None and len(self.batches) == self.stop_after:
            raise KeyboardInterrupt
        if texts:
            self.batches.append(list(texts))
        cost.charge(tokens_in=3.0 * len(texts), flops=100.0 * len(texts))
        return HashEncoder().encode([f"{role} {text}" for text in texts])

    def fingerprint(self) -> str:
        return self.label

    @property
    def seen(self) -> list[str]:
        return [text for batch in self.batches for text in batch]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ArrayCache]:
    cache = ArrayCache(tmp_path / "arrays.sqlite")
    yield cache
    cache.close()


def test_vectors_are_those_of_the_encoder(store: ArrayCache) -> None:
    expected = Metered().encode(TEXTS)
    for _ in range(2):
        np.testing.assert_array_equal(Cached(Metered(), store, batch_size=8).encode(TEXTS), expected)


def test_each_text_is_encoded_once_longest_first(store: ArrayCache) -> None:
    encoder = Metered()
    cached = Cached(encoder, store, batch_size=8)
    cached.encode(TEXTS + TEXTS[:20])
    assert sorted(encoder.seen) == sorted(TEXTS)
    assert [len(text) for text in encoder.seen] == sorted(map(len, TEXTS), reverse=True)
    cached.encode(TEXTS[::-1])
    assert len(encoder.seen) == len(TEXTS)


@pytest.mark.parametrize("change", ["fingerprint", "role"])
def test_another_encoder_or_role_finds_nothing(store: ArrayCache, change: str) -> None:
    Cached(Metered(), store).encode(["a"])
    other = Metered(label="other" if change == "fingerprint" else "metered")
    Cached(other, store).encode(["a"], role="query" if change == "role" else "item")
    assert other.seen == ["a"]


def test_what_was_spared_is_charged_at_its_first_price(store: ArrayCache) -> None:
    ledger = Ledger()
    with ledger.span("first"):
        Cached(Metered(), store, batch_size=8).encode(TEXTS)
    with ledger.span("second"):
        Cached(Metered(), store, batch_size=8).encode([*TEXTS, "one more", TEXTS[0]])
    first, second = ledger.entries
    assert first.cost.tokens_in == pytest.approx(3 * 50)
    assert first.cost.tokens_cached == 0
    assert first.reused == Cost.zero()
    assert second.cost.tokens_in == pytest.approx(3)
    assert second.cost.tokens_cached == pytest.approx(3 * 50)
    assert second.reused.tokens_in == pytest.approx(3 * 50)
    assert second.reused.flops == pytest.approx(100 * 50)
    assert second.reused.cpu_seconds is not None
    assert first.cost.cpu_seconds is not None
    assert 0 < second.reused.cpu_seconds <= first.cost.cpu_seconds


def test_a_price_that_was_unknown_stays_unknown(store: ArrayCache) -> None:
    ledger = Ledger()
    for name in ("first", "second"):
        with ledger.span(name):
            Cached(HashEncoder(), store).encode(TEXTS)
    assert ledger.entries[1].reused.flops is None


def test_goes_on_after_an_interruption(store: ArrayCache) -> None:
    with pytest.raises(KeyboardInterrupt):
        Cached(Metered(stop_after=3), store, batch_size=8).encode(TEXTS)
    rest = Metered()
    Cached(rest, store, batch_size=8).encode(TEXTS)
    assert len(rest.seen) == 50 - 3 * 8


KILLED = """
import sys, time
from pathlib import Path
from frugalrec.encoders._cached import Cached
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.encoders import HashEncoder

class Slow(HashEncoder):
    def encode(self, texts, *, role="item"):
        print("batch", flush=True)
        time.sleep(0.1)
        return super().encode(texts, role=role)

Cached(Slow(), ArrayCache(Path(sys.argv[1])), batch_size=4).encode([f"text {i}" for i in range(400)])
"""


def test_a_killed_run_loses_one_batch_at_most(tmp_path: Path) -> None:
    path = tmp_path / "arrays.sqlite"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(4):
            assert process.stdout.readline() == b"batch\n"
        os.kill(process.pid, signal.SIGKILL)
    store = ArrayCache(path)
    kept = len(store)
    assert 12 <= kept < 400
    texts = [f"text {i}" for i in range(400)]
    sizes: list[tuple[int, int]] = []
    with progress.listening(lambda _, done, total: sizes.append((done, total))):
        vectors = Cached(HashEncoder(), store, batch_size=100).encode(texts)
    assert sizes[0] == (kept, 400)
    assert sizes[-1] == (400, 400)
    np.testing.assert_array_equal(vectors, HashEncoder().encode(texts))
    store.close()


def test_reports_progress_only_when_there_is_work(store: ArrayCache) -> None:
    heard: list[tuple[str, int, int]] = []
    with progress.listening(lambda *told: heard.append(told)):
        Cached(Metered(), store, batch_size=20).encode(TEXTS)
        Cached(Metered(), store, batch_size=20).encode(TEXTS)
    assert heard == [("encode", done, 50) for done in (0, 20, 40, 50)]


def test_the_encoder_may_inspect_all_texts_before_it_gets_parts(store: ArrayCache) -> None:
    class Inspector(Metered):
        def inspect(self, texts: Sequence[str]) -> None:
            assert not self.batches
            inspected.append(sorted(texts))

    inspected: list[list[str]] = []
    Cached(Inspector(), store, batch_size=8).encode(TEXTS + TEXTS)
    assert inspected == [sorted(TEXTS)]


def test_works_where_nothing_can_be_stored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = ArrayCache(tmp_path / "file" / "arrays.sqlite")
    with pytest.warns(UserWarning, match="going on without"):
        vectors = Cached(HashEncoder(), store).encode(TEXTS)
    np.testing.assert_array_equal(vectors, HashEncoder().encode(TEXTS))


SHARED = """
import sys
from pathlib import Path
import numpy as np
from frugalrec.encoders._cached import Cached
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.encoders import HashEncoder

texts = [f"text {i}" for i in range(200)]
sys.stdin.readline()
found = Cached(HashEncoder(), ArrayCache(Path(sys.argv[1])), batch_size=7).encode(texts)
np.testing.assert_array_equal(found, HashEncoder().encode(texts))
"""


def test_processes_share_what_they_encode(tmp_path: Path) -> None:
    path = tmp_path / "arrays.sqlite"
    command = [sys.executable, "-W", "error", "-c", SHARED, str(path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    store = ArrayCache(path)
    assert len(store) == 200
    Cached(HashEncoder(), store).encode([f"text {i}" for i in range(200)])
    store.close()
