"""The plans that are tried when nobody names any: every family that applies, beside its twin without LM."""

from __future__ import annotations

from collections.abc import Sequence

from frugalrec.data.dataset import Dataset
from frugalrec.errors import ConfigError, UnknownNameError
from frugalrec.plan import Plan, Spec
from frugalrec.text.language import unsupported_share

TRANSFORMER = Spec("onnx")
MULTILINGUAL = Spec("e5", {"max-tokens": 96})
WORDS = Spec("bag-of-words")
FOR_COLD_ITEMS = ("launch-words",)
"""Plans that differ from another only where the catalogue has items without events, with text."""

COLD_ITEMS, COLD_SHARE = 10, 0.02
"""How many cold items, and what share of the catalogue, make these plans worth trying."""

ENCODER_LANGUAGES = ("latin",)
"""Scripts that the default encoder was trained on; it is at chance on others."""


def _like(name: str) -> Spec:
    return Spec("plan", {"name": name})


def _blend(*sequential: str) -> Spec:
    return Spec("hybrid", {"members": tuple(map(_like, (*sequential, "neighbours", "ease"))), "method": "scale"})


COLLABORATIVE = (
    Plan("chance", Spec("chance"), about="a random order: what any plan must beat"),
    Plan("popularity", Spec("popularity"), about="what most people chose, the same for everybody"),
    Plan("item-knn", Spec("item-knn"), about="items that the same people chose"),
    Plan("user-knn", Spec("user-knn"), about="what people with a similar history chose"),
    Plan("als", Spec("als"), about="matrix factorisation for implicit feedback"),
    Plan("ease", Spec("ease"), about="item-to-item weights in closed form, histories without order"),
    Plan("sequential", Spec("sequential-linear"), about="recent history to next items, in closed form"),
    Plan("neighbours", Spec("state-knn"), about="what followed the most similar moments of other histories"),
    Plan("blend", _blend("sequential"), about="sequential, neighbours and EASE: what is next, and lasting taste"),
)
"""Plans that need events alone."""

FROM_WORDS = (
    Plan("content-words", Spec("content", {"encoder": WORDS}), about="items whose text shares words, no LM"),
    Plan(
        "hybrid-words",
        Spec("hybrid", {"members": (_like("ease"), _like("content-words"))}),
        about="EASE and shared words, scores made comparable and added, no LM",
    ),
    Plan(
        "sequential-words",
        Spec("sequential-linear", {"encoder": WORDS}),
        about="recent history and shared words to next items, no LM",
    ),
    Plan("blend-words", _blend("sequential-words"), about="sequential-words, neighbours and EASE, no LM"),
    Plan(
        "launch-words",
        Spec("text-mapping", {"member": _like("ease"), "encoder": WORDS}),
        about="EASE, and what it would say of items without events, read off their words, no LM",
    ),
)
"""Plans that need item text, and no language model."""


def _from_meaning(encoder: Spec) -> tuple[Plan, ...]:
    return (
        Plan(
            "content",
            Spec("content", {"encoder": encoder}),
            without_lm="content-words",
            about="items whose text means the same",
        ),
        Plan(
            "ease-text",
            Spec("ease", {"encoder": encoder}),
            without_lm="ease",
            about="EASE drawn towards text similarity",
        ),
        Plan(
            "hybrid",
            Spec("hybrid", {"members": (_like("ease"), _like("content"))}),
            without_lm="hybrid-words",
            about="EASE and content, scores made comparable and added",
        ),
        Plan(
            "sequential-text",
            Spec("sequential-linear", {"encoder": encoder}),
            without_lm="sequential",  # shared words stand beside it in the headline, where they are the best without
            about="recent history and its meaning to next items, in closed form",
        ),
        Plan(
            "blend-text",
            _blend("sequential-text"),
            without_lm="blend",
            about="sequential-text, neighbours and EASE",
        ),
        Plan(
            "blend-both",
            _blend("sequential-words", "sequential-text"),
            without_lm="blend-words",
            about="sequential-words and sequential-text, neighbours and EASE",
        ),
    )


FROM_MEANING = (
    *_from_meaning(TRANSFORMER),
    Plan(
        "llm-rerank",
        _like("sequential-text"),
        reranker=Spec("likelihood", {"model": Spec("llama-cpp"), "depth": 10, "prior_items": 300}),
        without_lm="sequential-text",
        about="a generative LM reorders the best ten of sequential-text, on every request",
    ),
)
"""Plans that need item text in a language that the default encoder knows."""

FROM_MEANING_IN_ANY_SCRIPT = _from_meaning(MULTILINGUAL)
"""The same for texts in other scripts, with an encoder that knows them."""


def default_plans(dataset: Dataset) -> list[Plan]:
    """Return the plans that apply to ``dataset``, in an order in which references point backwards."""
    meaning = FROM_MEANING_IN_ANY_SCRIPT if _in_other_scripts(dataset) else FROM_MEANING
    plans = (*COLLABORATIVE, *FROM_WORDS, *meaning)
    return [plan for plan in plans if not_applicable(plan.name, dataset) is None]


def not_applicable(name: str, dataset: Dataset) -> str | None:
    """Return why the default plan called ``name`` does not apply to ``dataset``; None where it does or is not one."""
    if name in {plan.name for plan in (*FROM_WORDS, *FROM_MEANING)} and not _texts(dataset):
        return "it reads item text, and there is none"
    if name in FOR_COLD_ITEMS and (cold := _cold(dataset)) < max(COLD_ITEMS, COLD_SHARE * dataset.n_items):
        return f"it is for new items, and {cold:,} of {dataset.n_items:,} items have text and no events"
    english = {plan.name for plan in FROM_MEANING} - {plan.name for plan in FROM_MEANING_IN_ANY_SCRIPT}
    if name in english and _in_other_scripts(dataset):
        return "its language model does not know the script of the item texts, and would be no better than chance"
    return None


def _in_other_scripts(dataset: Dataset) -> bool:
    """Whether more than half of the item texts are in scripts that the default encoder does not know."""
    return unsupported_share(_texts(dataset), ENCODER_LANGUAGES) > 0.5


def _cold(dataset: Dataset) -> int:
    """Return how many items have text and no events."""
    popularity = dataset.interactions.popularity
    texts = dataset.catalog.texts()
    return sum(not events and bool(text.strip()) for events, text in zip(popularity, texts, strict=True))


def _texts(dataset: Dataset) -> list[str]:
    return [text for text in dataset.catalog.texts() if text.strip()]


def chosen_plans(plans: Sequence[Plan], names: Sequence[str]) -> list[Plan]:
    """Return the plans called ``names``, and those that they refer to.

    They come in the order of ``plans``, except that a plan comes after those that it refers to.
    """
    by_name = {p.name: p for p in plans}
    wanted: set[str] = set()
    queue = [(name, "") for name in names]
    while queue:
        name, where = queue.pop()
        if name not in by_name:
            raise UnknownNameError.of("plan", name, by_name, where=where)
        if name not in wanted:
            wanted.add(name)
            queue.extend((other, f"plan '{name}'") for other in references_of(by_name[name]))
    ordered: dict[str, Plan] = {}

    def place(name: str, after: tuple[str, ...]) -> None:
        if name in after:
            raise ConfigError(f"plans refer to one another in a circle: {' → '.join([*after, name])}")
        for reference in references_of(by_name[name]):
            place(reference, (*after, name))
        ordered.setdefault(name, by_name[name])

    for plan in plans:
        if plan.name in wanted:
            place(plan.name, ())
    return list(ordered.values())


def references_of(plan: Plan) -> list[str]:
    """Return the names of the plans that ``plan`` refers to, for its recommender or its reranker."""
    return [name for spec in (plan.recommender, plan.reranker) if spec is not None for name in references(spec)]


def references(spec: Spec) -> list[str]:
    """Return the names of the plans that ``spec`` refers to, at any depth."""
    if spec.component == "plan":
        return [spec.settings["name"]]
    return [name for _, child in spec.children() for name in references(child)]
