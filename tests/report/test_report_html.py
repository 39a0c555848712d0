from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_samples import PLANS, context, costs, decided, entries_of, trial, values_around

from frugalrec.budgets import Budget
from frugalrec.cost import Cost, Entry, Ledger
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.evaluation import Evaluation, Trial, evaluate
from frugalrec.plan import Plan
from frugalrec.planner import Decision
from frugalrec.report.context import Example, Recommended
from frugalrec.report.html import render
from frugalrec.report.words import explain_words
from frugalrec.testing.data import toy_dataset

VOID = {"meta", "br", "hr", "col"}
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Reads a page, sees that elements close in order, and keeps what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.sections: dict[str, str] = {}
        self._section = "top"
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)
            self.sections[self._section] = self.sections.get(self._section, "") + " " + data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def page(trials: list[Trial], decision: Decision) -> Page:
    return Page(render(decision, context(), entries_of(trials)))


def test_the_page_is_whole_and_in_order(page: Page) -> None:
    expected = "top plans language-model cost slices measures settings examples data again unknown"
    assert list(page.sections) == expected.split()
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in page.tags:
        link = attributes.get("href")
        assert link is None or link.removeprefix("#") in names


def test_nothing_is_fetched(page: Page, decision: Decision) -> None:
    text = render(decision, context(), [])
    assert not [a for _, a in page.tags if "src" in a]
    assert not re.search(r"https?:|url\(|@import|//[a-z]", text)
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "img", "object", "embed", "base", "form"}


def test_only_the_pages_own_script_may_run(decision: Decision) -> None:
    text = render(decision, context(), [])
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{digest}&#x27;" in text
    assert "default-src &#x27;none&#x27;" in text


def test_at_first_glance_there_is_a_verdict_a_scatter_and_the_language_models_worth(page: Page) -> None:
    top = page.sections["top"]
    assert "Run sequential-linear-text: it uses a language model once, not on every request." in top
    assert "sequential-linear-text is the cheapest plan that is within 2% of best" in top
    assert "The language model paid here" in top
    assert "3 of 4 like-for-like pairs gained" in top
    first = [attributes.get("class") for tag, attributes in page.tags if tag in ("h1", "svg", "section")]
    assert first[:3] == [None, "plot", "plot"]


def test_all_plans_have_verdict_and_reason(page: Page, decision: Decision) -> None:
    for choice in decision.choices:
        assert choice.name in page.sections["plans"]
        assert choice.reason.rstrip(".")[1:] in page.sections["plans"]
    assert "236 users only" in page.sections["plans"]


def test_the_protocol_is_stated(page: Page) -> None:
    said = " ".join(page.sections["data"].split())
    assert "Full ranking over 1,682 items, never over a sample" in said
    assert "items of the history are left out" in said
    assert "equal scores share their average rank" in said
    assert "943 test users (236 for llm-rerank)" in said
    assert "percentile bootstrap" in said
    repeats = Page(render(decided([trial_of(0.2)]), context(split_settings={"repeats": True}), []))
    assert "may be recommended again" in repeats.sections["data"]


def test_bytes_on_disk_are_told_apart_from_memory(page: Page) -> None:
    found = Page(render(decided([replace(trial_of(0.2), disk_bytes=3 * 2**20)]), context(), []))
    assert "all that was learned, and 3.00 MiB on disk" in " ".join(found.sections["top"].split())
    assert "and 3.00 MiB on disk" in " ".join(found.sections["plans"].split())
    assert "on disk" not in page.text


def trial_of(mean: float, name: str = "popularity", n: int = 60) -> Trial:
    plan = next(p for n_, p, *_ in PLANS if n_ == "popularity")
    return trial(name, plan, values_around(mean, np.random.default_rng(0).random(n), 0), costs(0, 1, 0.001))


def test_how_to_do_it_again(page: Page) -> None:
    said = page.sections["again"]
    for piece in ("frugalrec demo", 'metric = "ndcg@10"', "a list of prices", "2025-06-01", "23.4 GiB", "2 min 21 s"):
        assert piece in said
    assert "1,000,000 a day" in said


def test_settings_and_what_else_was_tried(page: Page) -> None:
    said = page.sections["settings"]
    assert "sequential-linear(half-lives=[1.5, 15], ridge=100, text-weight=4, encoder=onnx)" in said
    assert "the best 4 of 4 tried" in said
    assert "ridge=270" in said


def test_what_a_search_budget_tried_is_told(trials: list[Trial]) -> None:
    part, rung = dataclasses.replace(trials[5], validation=None), costs(0, 1, 0)["refresh"]
    looks = [Entry("search", "ease (search)", "once", 1, rung, Cost.zero(), 0, 1.0)] * 2
    said = Page(render(decided([part]), context(), looks)).sections["settings"]
    assert said.endswith(" 4 on part of the users 2.00 s")  # two rungs of a second each


def test_settings_that_the_data_could_not_support_are_counted(trials: list[Trial]) -> None:
    tuning = [{"settings": {"ridge": 1.0}, "value": 0.1}, {"settings": {"ridge": 0.0}, "passed_over": "singular"}]
    page = Page(render(decided([dataclasses.replace(trials[5], tuning=tuning)]), context(), []))
    assert "1 passed over: the data could not support them" in page.sections["settings"]


def test_what_the_caches_spared_is_told(page: Page) -> None:
    assert "caches, and fits of its search, spared 12.4 s" in page.sections["cost"]


def test_unknown_is_said_and_never_zero(trials: list[Trial], page: Page) -> None:
    assert "joules, once: all plans" in page.sections["unknown"]
    assert "NDCG@10 on cold items: all plans" in page.sections["unknown"]
    assert "diversity: all plans" in page.sections["unknown"]
    unpriced = dataclasses.replace(trials[5], cost=costs(0, 1, 0.001, gpu_seconds=None), latency_seconds={})
    shown = Page(render(decided([unpriced]), context(seconds=None), []))
    assert "USD 0" not in shown.sections["top"]
    assert shown.sections["top"].count("unknown") >= 4
    assert "price a month: all plans" in shown.sections["unknown"]
    assert "took unknown" in " ".join(shown.sections["again"].split())


def test_where_the_language_model_did_not_pay_the_page_says_so(trials: list[Trial]) -> None:
    some = [t for t in trials if t.name in ("sequential-linear", "llm-rerank")]
    page = Page(render(decided(some), context(), []))
    assert "The language model did not pay here: llm-rerank against sequential-linear" in page.sections["top"]
    assert "No gain shown" in page.sections["top"]
    assert "0 of 1 like-for-like pair gained" in page.sections["top"]


def test_without_a_language_model_the_page_says_so(trials: list[Trial]) -> None:
    page = Page(render(decided([trials[5]]), context(examples=()), []))
    assert "No plan that was tried uses a language model." in page.sections["top"]
    assert "Run ease: it needs no language model." in page.sections["top"]
    assert "examples" not in page.sections


def test_no_feasible_plan_names_the_nearest_miss(trials: list[Trial]) -> None:
    decision = decided(trials, floor=0.4, dollars_per_month=0.1)
    page = Page(render(decision, context(budget=Budget(dollars_per_month=0.1)), []))
    assert "No plan meets the floor within the budget." in page.sections["top"]
    assert "comes nearest" in page.sections["top"]
    assert "USD 0.10 a month" in page.sections["plans"]
    assert "chosen" not in [attributes.get("class") for _, attributes in page.tags]


def test_where_traffic_would_change_the_choice(trials: list[Trial]) -> None:
    quick = dataclasses.replace(trials[5], cost=costs(0, 500, 0.0001))
    slow = dataclasses.replace(trials[5], plan=dataclasses.replace(trials[5].plan, name="slow"), cost=costs(0, 1, 0.01))
    page = Page(render(decided([quick, slow]), context(), []))
    assert re.search(r"(ease and slow|slow and ease) cost the same at 50,404 requests a day", page.sections["cost"])


def test_everything_untrusted_is_escaped(trials: list[Trial]) -> None:
    plan = dataclasses.replace(trials[5].plan, name=HOSTILE, about=HOSTILE)
    decision = dataclasses.replace(decided([dataclasses.replace(trials[5], plan=plan)]), notes=(HOSTILE,))
    hostile = context(
        dataset=HOSTILE, command=HOSTILE, config=HOSTILE, load_report=(HOSTILE,), created=HOSTILE, split=HOSTILE,
        machine={HOSTILE: HOSTILE}, split_settings={HOSTILE: {HOSTILE: HOSTILE}},
        examples=(Example(HOSTILE, (HOSTILE,), (Recommended(HOSTILE, 1.0, HOSTILE),)),),
    )  # fmt: skip
    page = Page(render(decision, hostile, []))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "img" not in {tag for tag, _ in page.tags}
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert "<script>alert(1)</script>" in page.text


def test_text_that_cannot_be_written_is_replaced(decision: Decision) -> None:
    odd = context(examples=(Example("a\x00\ud800", ("\u202egnp.exe",), (Recommended("\x1b[31m", 1.0, ""),)),))
    page = render(decision, odd, [])
    assert page.encode("utf-8")
    assert "\x00" not in page
    assert "\u202e" not in page


def test_the_size_is_bounded_whatever_the_data() -> None:
    long = "&" * 5000
    spec = {"component": "ease", "ridge": 300.0}
    tuning = [{"settings": {"a" * 500: i}, "value": i / 1e4} for i in range(3000)]
    tried = [
        trial(
            f"{i:03d}{long}",
            {"recommender": spec, "about": long},
            np.full(30, i / 1000),
            costs(0, 1, 0.001),
            tuning=tuning,
        )
        for i in range(150)
    ]
    decision = dataclasses.replace(decided(tried), notes=(long,) * 1000)
    huge = context(
        dataset=long, command=long * 100, config=long * 100, load_report=(long,) * 1000,
        machine={f"{i}": long for i in range(1000)}, split_settings={f"{i}": long for i in range(1000)},
        examples=(Example(long, (long,) * 1000, (Recommended(long, 1.0, long),) * 1000),) * 100,
    )  # fmt: skip
    page = render(decision, huge, entries_of(tried))
    assert len(page.encode()) <= 2_000_000
    assert "and 950 more" in page


def test_a_usual_report_is_small(decision: Decision, trials: list[Trial]) -> None:
    assert len(render(decision, context(), entries_of(trials)).encode()) < 200_000


def test_the_same_inputs_give_the_same_page(decision: Decision) -> None:
    assert render(decision, context(), []) == render(decision, context(), [])


def test_a_real_study_end_to_end() -> None:
    data = toy_dataset(n_users=40, n_items=30)
    split = LeaveLastOut().split(data)
    text = {"component": "bag-of-words"}
    plans = [
        Plan.from_dict({"name": "popularity", "recommender": {"component": "popularity"}}),
        Plan.from_dict({"name": "ease", "recommender": {"component": "ease", "ridge": 30.0}}),
        Plan.from_dict({"name": "content", "recommender": {"component": "content", "encoder": text}}),
    ]
    ledger = Ledger()
    pipelines = {plan.name: plan.build().fit(split.train, ledger) for plan in plans}
    trials = [evaluate(pipeline, split, Evaluation(timed_queries=5), ledger) for pipeline in pipelines.values()]
    decision = decided(trials)
    assert decision.plan is not None
    query = data.query(3)
    ranking = pipelines["ease"].recommend([query], 3)[0]
    reasons = pipelines["ease"].explain(query, ranking.items)
    shown = [
        Recommended(data.catalog.title(int(item)), float(score), explain_words(why, data.catalog))
        for item, score, why in zip(ranking.items, ranking.scores, reasons, strict=True)
    ]
    history = tuple(data.catalog.title(int(item)) for item in query.history)
    examples = (Example("user-3", history, tuple(shown)),)
    page = Page(render(decision, context(split_settings=split.settings, examples=examples), ledger.entries))
    assert f"Run {decision.plan}" in page.sections["top"]
    assert "because of story number" in page.text.lower()
    assert "train events" in page.sections["data"]
