"""What a history says of somebody: themes, likes and dislikes, drift; each claim with the items that show it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.cluster import hierarchy
from scipy.stats import fisher_exact

from frugalrec.data.dataset import Dataset
from frugalrec.data.interactions import IntArray
from frugalrec.errors import DataError
from frugalrec.interfaces import LanguageModel, Matrix
from frugalrec.tasks._forms import tokens
from frugalrec.tasks.attributes import Attributes, Value
from frugalrec.tasks.grounding import foreign_values, ungrounded
from frugalrec.text.stop_words import STOP_WORDS

EVIDENCE = 5
"""Items that a claim cites at most."""

CLUSTERED = 500
"""Newest items of a history that themes are looked for among."""

LISTED = 4
"""Likes, dislikes and changes that are told at most, each."""

_SURE = 0.05
_SUPPORT = 3

ClaimKind = Literal["theme", "like", "dislike", "more", "less"]


class Evidence(BaseModel):
    """An item of the history."""

    model_config = ConfigDict(frozen=True)

    item: str
    title: str


class Claim(BaseModel):
    """One statement, and the items of the history that it rests on."""

    model_config = ConfigDict(frozen=True)

    kind: ClaimKind
    text: str
    terms: tuple[str, ...]
    evidence: tuple[Evidence, ...]


class Profile(BaseModel):
    """What a history says. ``words`` is the text; with ``worded_by`` a language model wrote it, and it was checked."""

    model_config = ConfigDict(frozen=True)

    user: str
    n_events: int
    n_items: int
    themes: tuple[Claim, ...] = ()
    likes: tuple[Claim, ...] = ()
    dislikes: tuple[Claim, ...] = ()
    drift: tuple[Claim, ...] = ()
    words: str = ""
    worded_by: str = ""
    rejected: tuple[str, ...] = ()

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims in the order in which they are told."""
        return (*self.themes, *self.likes, *self.dislikes, *self.drift)

    def lines(self) -> list[str]:
        """Return the profile as it is printed: each claim with its evidence below."""
        found = [self.words] if self.worded_by else []
        for claim in self.claims:
            found.append(claim.text)
            found += [f"    {each.title}  [{each.item}]" for each in claim.evidence]
        return found or [self.words]


class Profiler:
    """Reads histories: clusters of item vectors, what tells them from the catalogue, ratings, and change over time.

    *Themes* are clusters (Ward's, of unit vectors) named by the attribute values and words that are much more frequent
    in them than in the catalogue. *Likes* and *dislikes* are values whose items the user rated above or below their own
    mean (|t| ≥ 1.96 and at least 3 items); none without ratings. *Drift* compares the newest third of the history with
    the rest (Fisher's exact test at 5%). All are looked for among many values, so a few will be luck; the counts stand
    beside each.

    ``vectors``: unit item vectors ``(n_items, dim)``, of any encoder. Time: O(h² · dim) for a history of h items.

    >>> from frugalrec.testing.data import toy_dataset
    >>> data = toy_dataset()
    >>> profiler = Profiler(data, np.eye(data.n_items, dtype=np.float32))
    >>> profiler.profile(0).n_items
    12
    """

    def __init__(
        self, dataset: Dataset, vectors: Matrix, *, themes: int = 4, attributes: Attributes | None = None
    ) -> None:
        if len(vectors) != dataset.n_items:
            raise DataError(f"expected a vector for each of {dataset.n_items} items, got {len(vectors)}")
        self.dataset, self.vectors, self.themes = dataset, vectors, themes
        self.attributes = attributes if attributes is not None else Attributes(dataset.catalog)
        self._titles = [dataset.catalog.title(code) for code in range(dataset.n_items)]
        self._words = [_telling_words(text) for text in dataset.catalog.texts()]
        self._frequency: dict[str, int] = {}
        for words in self._words:
            for word in words:
                self._frequency[word] = self._frequency.get(word, 0) + 1

    def profile(self, user: int) -> Profile:
        """Return the profile of the user with code ``user``; raises `DataError` when they have no events."""
        log = self.dataset.interactions
        rows = log.events_of(user)
        events = log.item[rows]
        name = str(log.users.ids[user])
        if not len(events):
            raise DataError(f"user '{name}' has no events, so there is nothing to say")
        items = np.array(list(dict.fromkeys(events.tolist())), dtype=np.int32)  # oldest first
        likes, dislikes = self._rated(events, None if log.value is None else log.value[rows])
        found = Profile(
            user=name,
            n_events=len(events),
            n_items=len(items),
            themes=tuple(self._themes(items)),
            likes=tuple(likes),
            dislikes=tuple(dislikes),
            drift=tuple(self._drift(items)),
        )
        return found.model_copy(update={"words": _worded(found)})

    def reworded(self, profile: Profile, model: LanguageModel, *, max_tokens: int = 160, tries: int = 2) -> Profile:
        """Let a language model word the claims of ``profile``; what is not in them is refused and the text stays.

        ``rejected`` holds what the model said that the claims do not. The model is charged either way.
        """
        claims = "\n".join(f"- {claim.text} ({', '.join(e.title for e in claim.evidence)})" for claim in profile.claims)
        prompt = (
            "Facts about what a person chose:\n"
            f"{claims}\n\nThe same facts as two or three plain sentences, with nothing added:\n"
        )
        rejected: list[str] = []
        for _ in range(tries):
            (text,) = model.generate([prompt], max_tokens=max_tokens, stop=("\n\n",))
            text = " ".join(text.split())
            flags = ungrounded(text, [claims], known=self._frequency)
            named = foreign_values(text, [claims], self.attributes)
            if text and not flags and not named:
                return profile.model_copy(update={"words": text, "worded_by": model.fingerprint()})
            wrong = [*(flag.words for flag in flags), *named]
            rejected += wrong or ["(nothing)"]
            # A model that is asked again says the same: it is told what was wrong.
            prompt = f"Do not mention {', '.join(wrong) or 'anything else'}.\n{prompt}"
        return profile.model_copy(update={"rejected": tuple(rejected)})

    def _themes(self, items: IntArray) -> list[Claim]:
        recent = items[-CLUSTERED:]
        described = recent[self.vectors[recent].any(axis=1)]
        if len(described) < _SUPPORT:
            return []
        n_clusters = min(self.themes, max(1, len(described) // _SUPPORT))
        labels = np.ones(len(described), dtype=int)
        if n_clusters > 1:
            tree = hierarchy.linkage(self.vectors[described].astype(np.float64), method="ward")
            labels = hierarchy.fcluster(tree, n_clusters, criterion="maxclust")
        # Clusters that are called the same are one: their number is a bound, not something known.
        called: dict[Value | str, list[int]] = {}
        for label in np.unique(labels):
            members = described[labels == label]
            if terms := self._terms(members):
                called.setdefault(terms[0], []).extend(members.tolist())
        found: list[tuple[int, Claim]] = []
        for name, codes in called.items():
            if len(codes) < _SUPPORT:
                continue
            members = np.array(codes, dtype=np.int32)
            terms = [name, *(term for term in self._terms(members) if term != name)][:4]
            having = [code for code in codes if self._has(code, name)]
            centre = self.vectors[members].mean(axis=0)
            typical = sorted(having, key=lambda code: -float(self.vectors[code] @ centre))
            share = np.mean([self._has(code, name) for code in range(self.dataset.n_items)])
            text = (
                f"{', '.join(map(_name, terms))}: {len(members)} of {len(recent)} items; {len(having)} of these are "
                f"{_name(name)}, as {share:.0%} of the catalogue are."
            )
            claim = Claim(kind="theme", text=text, terms=tuple(map(_name, terms)), evidence=self._evidence(typical))
            found.append((len(members), claim))
        return [claim for _, claim in sorted(found, key=lambda each: -each[0])]

    def _terms(self, members: IntArray) -> list[Value | str]:
        """Return up to 4 values and words that a cluster has much more often than the catalogue."""
        n = self.dataset.n_items
        counts: dict[Value | str, int] = {}
        for code in members:
            values = self.attributes.values_of(int(code))
            spelled = {word for value in values for word in _telling_words(value.name)}
            for term in (*values, *(self._words[code] - spelled)):
                counts[term] = counts.get(term, 0) + 1
        scored = []
        for term, count in counts.items():
            everywhere = self._frequency[term] if isinstance(term, str) else len(self.attributes.values[term])
            if count < max(2, 0.25 * len(members)):
                continue
            # How much more often than expected, drawn towards "as often" while there are few.
            lift = math.log((count + 0.5) / (len(members) + 1)) - math.log((everywhere + 0.5) / (n + 1))
            if lift > math.log(1.5):
                scored.append((lift * math.sqrt(count) * (1.0 if isinstance(term, Value) else 0.5), term))
        scored.sort(key=lambda each: (-each[0], _name(each[1])))
        return [term for _, term in scored[:4]]

    def _has(self, code: int, term: Value | str) -> bool:
        return term in self._words[code] if isinstance(term, str) else bool(self.attributes.mask(term)[code])

    def _rated(self, events: IntArray, ratings: Any) -> tuple[list[Claim], list[Claim]]:
        if ratings is None or len(ratings) < 2 * _SUPPORT or float(np.ptp(ratings)) == 0:
            return [], []
        mean = float(ratings.mean())
        spread = float(ratings.std(ddof=1))
        likes: list[tuple[float, Claim]] = []
        dislikes: list[tuple[float, Claim]] = []
        for value in self._values_of(events):
            having = self.attributes.mask(value)[events]
            n = int(having.sum())
            if n < _SUPPORT:
                continue
            theirs = float(ratings[having].mean())
            t = (theirs - mean) / (spread / math.sqrt(n))
            if abs(t) < 1.96:
                continue
            order = np.argsort(-ratings[having] if t > 0 else ratings[having], kind="stable")
            text = (
                f"{'Likes' if t > 0 else 'Dislikes'} {value.name}: {n} items rated {theirs:.1f} on average, "
                f"{mean:.1f} overall."
            )
            claim = Claim(
                kind="like" if t > 0 else "dislike",
                text=text,
                terms=(value.name,),
                evidence=self._evidence(events[having][order]),
            )
            (likes if t > 0 else dislikes).append((-abs(t), claim))
        return _largest(likes), _largest(dislikes)

    def _drift(self, items: IntArray) -> list[Claim]:
        n_recent = len(items) // 3
        if n_recent < 2 * _SUPPORT:
            return []
        before, recent = items[:-n_recent], items[-n_recent:]
        found = []
        for value in self._values_of(items):
            mask = self.attributes.mask(value)
            a, b = int(mask[recent].sum()), int(mask[before].sum())
            chance = float(fisher_exact([[a, n_recent - a], [b, len(before) - b]]).pvalue)
            if chance >= _SURE:
                continue
            more = a / n_recent > b / len(before)
            text = (
                f"{'More' if more else 'Less'} {value.name} lately: {a} of the newest {n_recent} items, "
                f"{b} of the {len(before)} before."
            )
            shown = (recent if more else before)[mask[recent if more else before]][::-1]
            kind: ClaimKind = "more" if more else "less"
            found.append((chance, Claim(kind=kind, text=text, terms=(value.name,), evidence=self._evidence(shown))))
        return _largest(found)

    def _values_of(self, items: IntArray) -> list[Value]:
        return list(dict.fromkeys(value for code in items for value in self.attributes.values_of(int(code))))

    def _evidence(self, codes: Sequence[int] | IntArray) -> tuple[Evidence, ...]:
        ids = self.dataset.catalog.items.ids
        distinct = list(dict.fromkeys(int(code) for code in codes))
        return tuple(Evidence(item=str(ids[code]), title=self._titles[code]) for code in distinct[:EVIDENCE])


def _largest(found: list[tuple[float, Claim]]) -> list[Claim]:
    return [claim for _, claim in sorted(found, key=lambda each: each[0])[:LISTED]]


def _worded(profile: Profile) -> str:
    if not profile.claims:
        return f"{profile.n_items} items, and nothing that stands out."
    return " ".join(claim.text for claim in profile.claims)


def _name(term: Value | str) -> str:
    return term if isinstance(term, str) else term.name


def _telling_words(text: str) -> frozenset[str]:
    """Return the words of a text that may name a theme: no stop words, no numbers, nothing short."""
    found = (t.text.casefold() for t in tokens(text))
    return frozenset(w for w in found if len(w) > 2 and w.isalpha() and w not in STOP_WORDS)


__all__ = ["Claim", "Evidence", "Profile", "Profiler"]
