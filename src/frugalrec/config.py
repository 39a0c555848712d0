"""The configuration file of ``frugalrec plan``: TOML, every key checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from frugalrec import metrics, registry
from frugalrec.errors import ConfigError, UnknownNameError, nearest
from frugalrec.floors import Floor, parse_slices
from frugalrec.plan import Plan
from frugalrec.plan_space import expanded


class _Section(BaseModel):
    # Strict: true is no number and "3" is none either. Only lists are let in as tuples, field by field.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataSection(_Section):
    """``[data]``: a named data set, or files and their columns."""

    dataset: str | None = Field(None, description="a data set by name: see frugalrec data list")
    interactions: str | None = Field(
        None, description="file of events: CSV, TSV, Parquet, JSON lines, … (.gz too); or a folder, or a URL"
    )
    items: str | None = Field(None, description="file of items; may hold items without interactions")
    format: str = Field("auto", description="file format, where it cannot be told from the files")
    user: str = Field("user_id", description="column of user ids")
    item: str = Field("item_id", description="column of item ids")
    item_id: str | None = Field(None, description="column of item ids in the items file, if it has another name")
    timestamp: str | None = Field("timestamp", description="column of times; absent: the order of rows")
    rating: str | None = Field("rating", description="column of ratings; may be absent")
    text: tuple[str, ...] = Field(
        (), strict=False, description="columns that describe an item in words, in reading order"
    )
    template: str = Field("", description="how text columns become one text: {title}[ ({year})]; default: joined")
    delimiter: str = Field("auto", description="column separator, where it cannot be told")
    min_rating: float | None = Field(None, description="drop events rated below this")
    duplicates: Literal["keep", "first", "last"] = Field("keep", description="repeated (user, item) events")
    ties: Literal["auto", "file", "item-id", "random"] = Field(
        "auto",
        description="order of events at the same time; auto: of rows, or random where no times and rows go by item",
    )
    on_bad_rows: Literal["error", "skip", "report"] = Field("error", description="what to do with rows that are wrong")


class SplitSection(_Section):
    """``[split]``: how to hold out. Other keys are settings of the split."""

    model_config = ConfigDict(extra="allow")
    kind: str = Field("leave-last-out", description="leave-last-out, global-time, random or cold-items")


class QualitySection(_Section):
    """``[quality]``: what to measure and how good is good enough."""

    metric: str = Field("ndcg@10", description="the metric that decides")
    floor: float | str = Field("within 2% of best", description='a number, or "within N% of best"')
    slices: dict[str, float | str] = Field(
        {}, description="a floor for warm, cold or tail items besides: cold = 0.05, or tail = 'within 10% of best'"
    )


class BudgetSection(_Section):
    """``[budget]``: limits; leave out what is not limited."""

    dollars_per_month: float | None = Field(None, gt=0, description="money a month, in the currency of the price sheet")
    seconds_per_request_p95: float | None = Field(None, gt=0, description="95th percentile of a single request")
    memory_gib: float | None = Field(None, gt=0, description="what a server must hold")
    once_seconds: float | None = Field(None, gt=0, description="time before the first request can be answered")
    lm_dollars: float | None = Field(
        None, gt=0, description="money that language models may spend while plans are tried; no call is made beyond it"
    )


class TrafficSection(_Section):
    """``[traffic]``: how often the recommender is asked and refitted."""

    requests_per_day: float = Field(1_000_000, ge=0, description="requests a day")
    refreshes_per_day: float = Field(1, ge=0, description="refits a day")


class PricesSection(_Section):
    """``[prices]``: the price sheet."""

    sheet: str | None = Field(None, description="TOML file; default: the sheet that comes with frugalrec")


class TuningSection(_Section):
    """``[tuning]``: the search for settings on the validation fold."""

    seconds: float = Field(60.0, ge=0, description="CPU seconds for each plan; 0 keeps the defaults")
    max_queries: int = Field(2000, ge=1, description="validation queries used")


class StudySection(_Section):
    """``[study]``: caps on the study itself. What is expected to be above one is not begun (at a terminal, asked)."""

    max_seconds: float | None = Field(None, gt=0, description="time that trying all plans may take")
    max_money: float | None = Field(None, gt=0, description="what the compute of it may cost, at the price sheet")


class SearchSection(_Section):
    """``[search]``: a budget for choosing among plans; without one, every plan is tried in full."""

    seconds: float | None = Field(None, gt=0, description="CPU seconds that looking at plans and settings may take")
    dollars: float | None = Field(None, gt=0, description="what that may cost, in the currency of the price sheet")


class EvaluationSection(_Section):
    """``[evaluation]``: what is measured on the test fold."""

    metrics: tuple[str, ...] = Field(
        ("hr@10", "recall@10", "precision@10", "mrr@10", "map@10", "auc"),
        strict=False,
        description="reported beside the deciding one",
    )
    max_queries: int = Field(0, ge=0, description="test queries; 0 = all")
    timed_queries: int = Field(100, ge=1, description="queries answered singly to measure latency")
    lm_queries: int = Field(40, ge=2, description="test queries for plans that run an LM per request")


class ComputeSection(_Section):
    """``[compute]``: who does the work while plans are tried and the chosen one is fitted."""

    executor: Literal["local", "ray"] = Field("local", description="this machine, or a Ray cluster (extra ray)")
    workers: int = Field(1, ge=1, description="processes that share the work")
    parallel: Literal["shards", "trials"] = Field(
        "shards", description="what they share: texts and users of one plan, or whole plans, tried side by side"
    )
    checkpoints: str = Field("", description="folder or URL for finished parts; empty: none are kept")
    ray_address: str = Field("", description="a cluster that runs already; empty: one for this study")


class PlansSection(_Section):
    """``[plans]``: which of the default plans to try, and plans of your own."""

    only: tuple[str, ...] = Field((), strict=False, description="names of default plans; empty: all that apply")
    own: tuple[dict[str, Any], ...] = Field((), strict=False, description="plans of your own: [[plans.own]] tables")


class Config(_Section):
    """A whole configuration file."""

    data: DataSection
    split: SplitSection = SplitSection()
    quality: QualitySection = QualitySection()
    budget: BudgetSection = BudgetSection()
    traffic: TrafficSection = TrafficSection()
    prices: PricesSection = PricesSection()
    tuning: TuningSection = TuningSection()
    study: StudySection = StudySection()
    search: SearchSection = SearchSection()
    evaluation: EvaluationSection = EvaluationSection()
    plans: PlansSection = PlansSection()
    compute: ComputeSection = ComputeSection()
    seed: int = Field(0, description="seeds every draw")

    def own_plans(self) -> list[Plan]:
        """Return the plans of ``[[plans.own]]``, spaces expanded."""
        return [Plan.from_dict(plan) for table in self.plans.own for plan in expanded(table)]


def load_config(path: Path) -> Config:
    """Read and check a configuration file; raises `ConfigError` naming the file, the key and the nearest right one."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file", hint="frugalrec plan --example prints a configuration") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder, not a configuration file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return parse_config(table, str(path))


def parse_config(table: Mapping[str, Any], where: str) -> Config:
    """Check a configuration given as a table; ``where`` names it in errors."""
    try:
        config = Config.model_validate(table)
    except pydantic.ValidationError as error:
        raise _explained(error, where) from error
    for name in (config.quality.metric, *config.evaluation.metrics):
        metrics.parse(name)
    Floor.parse(config.quality.floor)
    parse_slices(config.quality.slices, f"{where}: quality.slices")
    _check_split(config.split, where)
    if (config.data.dataset is None) == (config.data.interactions is None):
        raise ConfigError(f"{where}: [data] needs either 'dataset' or 'interactions'")
    config.own_plans()
    return config


def _check_split(section: SplitSection, where: str) -> None:
    if section.kind not in registry.names("split"):
        raise UnknownNameError.of("split", section.kind, registry.names("split"), where=where)
    settings = section.model_extra or {}
    known = [f.name for f in registry.settings_of(registry.load("split", section.kind)).values()]
    for key in settings:
        if key.replace("-", "_") not in known:
            raise UnknownNameError.of("key", key, [*known, "kind"], where=f"[split] of {where}")
    registry.checked("split", section.kind, settings, where=f"{where}: split")


_EXPECTED = {"tuple_type": "must be a list", "model_type": "must be a table", "dict_type": "must be a table"}


def _explained(error: pydantic.ValidationError, where: str) -> ConfigError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if path[:2] in (["quality", "floor"], ["quality", "slices"]):
        path = path[: 3 if path[1] == "slices" else 2]  # what follows names the types it might have
    place = ".".join(path)
    if first["type"] == "extra_forbidden":
        known = _keys_beside(path)
        near = nearest(path[-1], known)
        section = f" in [{'.'.join(path[:-1])}]" if len(path) > 1 else ""
        hint = f"did you mean '{near}'?" if near else f"known: {', '.join(sorted(known))}"
        return ConfigError(f"{where}: unknown key '{path[-1]}'{section}", hint=hint)
    if first["type"] == "missing":
        return ConfigError(f"{where}: '{place}' is missing", hint="frugalrec plan --example prints a configuration")
    found = f", not {first['input']!r}" if not isinstance(first["input"], dict) else ""
    expected = _EXPECTED.get(first["type"], first["msg"].replace("Input should", "must", 1))
    return ConfigError(f"{where}: {place} {expected}{found}")


def _keys_beside(path: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for part in path[:-1]:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


EXAMPLE = """\
# frugalrec plan CONFIG.toml: which recommender should run on your data, and what does a language model buy?
# Every key but data.interactions may be left out; the values shown are the defaults unless a comment says otherwise.

[data]
interactions = "interactions.csv"      # user_id, item_id, timestamp (optional: order of rows), rating (optional)
items = "items.csv"                    # item_id and text columns; may hold items without interactions
text = ["title", "genres"]             # default: the title, or all columns of text

[split]
kind = "leave-last-out"                # or "global-time", "random", "cold-items"
# repeats = true                       # judge and recommend items that a user met before as well

[quality]
metric = "ndcg@10"
floor = "within 2% of best"            # or a number, as in floor = 0.17
# slices = { cold = 0.05, tail = "within 10% of best" }    # floors for items without events, and for unpopular ones

[budget]                               # all optional
# dollars_per_month = 500
# seconds_per_request_p95 = 0.05
# memory_gib = 4
# once_seconds = 600
# lm_dollars = 5                       # a hard cap on what language models spend while plans are tried

[traffic]
requests_per_day = 1_000_000
refreshes_per_day = 1

[tuning]
seconds = 60                           # of CPU for each plan; settings are chosen on the validation fold

[study]                                # caps on the study itself, both optional
# max_seconds = 3600
# max_money = 1.0

[search]                               # both optional: drop plans early, to stay within
# seconds = 600                        # of CPU for the whole study
# dollars = 0.05

[compute]                              # who does the work; the same numbers come out
# executor = "ray"                     # default: "local"
# workers = 2
# parallel = "trials"                  # whole plans side by side; default: "shards", the texts and users of one plan

[plans]
# only = ["popularity", "ease", "sequential-text"]

# A plan of your own:
# [[plans.own]]
# name = "short-memory"
# recommender = { component = "sequential-linear", half_lives = [2.0], encoder = { component = "onnx" } }
# space = { "recommender.encoder.component" = ["bag-of-words", "onnx"] }    # one plan for each combination
"""
