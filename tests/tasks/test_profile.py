"""What is said of a history is true of it, and cites it."""

from __future__ import annotations

import numpy as np
import pytest

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.errors import DataError
from frugalrec.tasks.profile import Profiler
from frugalrec.testing.llms import UnigramModel

KINDS = ["Comedy", "Western", "Horror", "Opera"]
PER_KIND = 25


def shop(history: list[int], ratings: list[float] | None = None) -> Dataset:
    """Return a catalogue of four kinds of 25 items and one user with that history."""
    n = len(KINDS) * PER_KIND
    items = IdMap([f"i{i}" for i in range(n)], what="item")
    kinds = [KINDS[i // PER_KIND] for i in range(n)]
    titles = [f"{kinds[i].lower()} piece {chr(97 + i % PER_KIND)}" for i in range(n)]
    events = Interactions.from_events(
        np.zeros(len(history), dtype=np.int32),
        np.array(history, dtype=np.int32),
        IdMap(["ann", "bob"], what="user"),
        items,
        value=None if ratings is None else np.array(ratings, dtype=np.float32),
    )
    return Dataset(events, Catalog(items, {"title": titles, "kind": kinds}, ("title", "kind")))


def profiler(data: Dataset) -> Profiler:
    return Profiler(data, BagOfWords().encode(data.catalog.texts()))


def test_themes_are_found_and_counted() -> None:
    found = profiler(shop([*range(10), *range(25, 31)])).profile(0)
    assert [theme.terms[0] for theme in found.themes[:2]] == ["Comedy", "Western"]
    assert "10 of 16 items" in found.themes[0].text
    assert "25% of the catalogue" in found.themes[0].text


def test_likes_and_dislikes_follow_the_ratings() -> None:
    history = [*range(10), *range(25, 35), *range(50, 60)]
    found = profiler(shop(history, [5.0] * 10 + [1.0] * 10 + [3.0] * 10)).profile(0)
    assert [claim.terms for claim in found.likes] == [("Comedy",)]
    assert [claim.terms for claim in found.dislikes] == [("Western",)]
    assert "10 items rated 5.0 on average, 3.0 overall" in found.likes[0].text


def test_without_ratings_nobody_likes_or_dislikes() -> None:
    history = list(range(12))
    assert not profiler(shop(history)).profile(0).likes
    assert not profiler(shop(history, [4.0] * 12)).profile(0).likes


def test_drift_is_towards_what_is_new() -> None:
    found = profiler(shop([*range(20), *range(75, 85)])).profile(0)
    assert {(claim.kind, claim.terms[0]) for claim in found.drift} == {("more", "Opera"), ("less", "Comedy")}
    assert "10 of the newest 10 items, 0 of the 20 before" in next(c.text for c in found.drift if c.kind == "more")


def test_a_steady_taste_does_not_drift() -> None:
    assert not profiler(shop([i // 2 + 25 * (i % 2) for i in range(30)])).profile(0).drift


def test_evidence_is_of_the_history_and_of_the_kind() -> None:
    history = [*range(10), *range(25, 35), *range(75, 90)]
    data = shop(history, [5.0] * 10 + [2.0] * 25)
    claims = profiler(data).profile(0).claims
    assert len(claims) >= 5
    for claim in claims:
        assert claim.evidence
        for each in claim.evidence:
            code = data.catalog.items.code(each.item)
            assert code in history
            assert each.title == data.catalog.title(code)
            if claim.kind != "theme":
                assert data.catalog.fields["kind"][code] == claim.terms[0]


def test_short_histories_and_none() -> None:
    found = profiler(shop([3])).profile(0)
    assert found.claims == ()
    assert "nothing that stands out" in found.words
    with pytest.raises(DataError, match="'bob' has no events"):
        profiler(shop([3])).profile(1)


def test_a_catalogue_without_text() -> None:
    data = shop(list(range(12)))
    bare = Dataset(data.interactions, Catalog(data.catalog.items))
    assert Profiler(bare, np.zeros((bare.n_items, 4), dtype=np.float32)).profile(0).claims == ()
    with pytest.raises(DataError, match="a vector for each of 100 items, got 3"):
        Profiler(data, np.zeros((3, 4), dtype=np.float32))


class _Says(UnigramModel):
    text = ""

    def generate(self, prompts, **_):  # type: ignore[no-untyped-def]
        self.asked = [*getattr(self, "asked", []), *prompts]
        return [self.text for _ in prompts]


def test_a_models_words_are_taken_only_if_they_hold() -> None:
    tool = profiler(shop([*range(10), *range(25, 31)]))
    plain = tool.profile(0)
    model = _Says()
    model.text = "Mostly Comedy, 10 of 16 items."
    told = tool.reworded(plain, model)
    assert (told.words, told.worded_by) == (model.text, model.fingerprint())
    assert told.claims == plain.claims
    model.text = "Mostly Horror."
    assert "Horror" in tool.reworded(plain, model).rejected
    model.text = "Loves Charlie Chaplin since 1931."
    refused = tool.reworded(plain, model)
    assert (refused.words, refused.worded_by) == (plain.words, "")
    assert any("Charlie Chaplin" in words for words in refused.rejected)
    assert "1931" in refused.rejected
    assert "Charlie Chaplin" in model.asked[-1]  # it was told what was wrong


def test_numbers_are_of_items_not_of_repeats() -> None:
    data = shop([0, 1, 2, 0, 1, 2, 0])
    assert (found := profiler(data).profile(0)).n_items == 3
    assert found.n_events == 7
