"""The documentation is true: what it shows is run, what it generates is up to date, what it links to is there.

How a page is run: its blocks in order, in a folder of its own. ``console``: lines that begin with ``$ `` go through a
shell and must succeed; lines below one are what it prints (``...`` stands for anything). ``python`` is executed,
``pycon`` compared with its output. A block whose first line is ``# file: NAME`` is written to that file instead. Other
``toml`` must be part of a configuration. Comments before a block: ``<!-- not run: why -->``, and ``<!-- needs: command
-->`` (skipped where the command is missing). ``<!-- goes on from: PAGE -->`` starts a page in the folder another left.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from frugalrec import assets
from frugalrec.cli._app import app
from frugalrec.config import Config, parse_config
from frugalrec.cost import AMOUNTS
from frugalrec.errors import AssetError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorials" / "first-plan.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

MATCHING = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FENCE = re.compile(
    r"^(?:<!-- (?P<rule>not run|needs): (?P<why>.+?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
GOES_ON = re.compile(r"<!-- goes on from: (\S+) -->")
FILE = re.compile(r"# file: (\S+)\n")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page, and where it stands."""

    language: str
    text: str
    where: str
    rule: str
    why: str

    @property
    def skipped(self) -> bool:
        return self.rule == "not run" or (self.rule == "needs" and shutil.which(self.why) is None)

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield each command of a console block with the output shown below it."""
        for part in re.split(r"^\$ ", self.text, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        where = f"{page.relative_to(ROOT)}:{line}"
        found.append(Block(match["language"], match["text"], where, match["rule"] or "", match["why"] or ""))
    return found


def run_page(page: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Run the blocks of ``page`` in ``folder``."""
    patch.chdir(folder)
    patch.syspath_prepend(folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page):
        if block.skipped:
            continue
        if file := FILE.match(block.text):
            (folder / file[1]).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for command, expected in block.commands():
                check_command(command, expected, block.where)
        elif block.language == "python":
            exec(compile(block.text, block.where, "exec"), names)
        elif block.language == "pycon":
            check_transcript(block, names)


def check_command(command: str, expected: str, where: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, f"{where}: {command}: exit code {done.returncode}\n{done.stdout}"
    if expected.strip() and not doctest.OutputChecker().check_output(expected, done.stdout, MATCHING):
        pytest.fail(f"{where}: {command}\nthe page shows:\n{expected}\nit prints:\n{done.stdout}", pytrace=False)


def needs_a_missing_extra(text: str) -> bool:
    modules = [importlib.import_module(name) for name in re.findall(r"^>>> from (frugalrec\.\S+) import", text, re.M)]
    extras = [getattr(module, "EXTRA", None) for module in modules]
    return any(extra is not None and find_spec(extra[1]) is None for extra in extras)


def check_transcript(block: Block, names: dict[str, Any]) -> None:
    if needs_a_missing_extra(block.text):
        return  # as its doctest is skipped
    test = doctest.DocTestParser().get_doctest(block.text, names, block.where, block.where, 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=MATCHING)
    runner.run(test, out=report.append, clear_globs=False)
    names.update(test.globs)
    assert not runner.failures, "".join(report)


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """A cache with the default encoder and nothing else, no network, one thread, the commands of this environment."""
    try:
        fetched = assets.fetch("all-minilm-l6-v2-int8")
    except AssetError as error:
        pytest.fail(f"the documentation needs the default encoder's weights: {error}", pytrace=False)
    cache = tmp_path_factory.mktemp("cache")
    (cache / "assets").mkdir()
    (cache / "assets" / fetched.name).symlink_to(fetched.folder.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("FRUGALREC_CACHE", str(cache))
        patch.setenv("FRUGALREC_OFFLINE", "1")
        for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NO_COLOR"):
            patch.setenv(variable, "1")
        yield patch


@pytest.fixture(scope="module")
def shop(surroundings: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the tutorial leaves."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        run_page(TUTORIAL, folder, patch)
    return folder


RUN = [
    page
    for page in PAGES
    if page != TUTORIAL and any(b.language in ("console", "python", "pycon") for b in blocks_of(page))
]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_tutorial_runs(shop: Path) -> None:
    assert (shop / "shop-run" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("page", RUN, ids=named)
def test_pages_run(page: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    request.getfixturevalue("surroundings")
    if found := GOES_ON.search(page.read_text(encoding="utf-8")):
        assert (page.parent / found[1]).resolve() == TUTORIAL, "only the tutorial can be gone on from"
        left: Path = request.getfixturevalue("shop")
        shutil.copytree(left, tmp_path, dirs_exist_ok=True)
        for plan in tmp_path.glob("*/plan.toml"):  # it names its data by their full paths
            plan.write_text(plan.read_text(encoding="utf-8").replace(str(left), str(tmp_path)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        run_page(page, tmp_path, patch)


@pytest.mark.parametrize("example", EXAMPLES, ids=named)
def test_examples_run(example: Path, shop: Path) -> None:
    subprocess.run([sys.executable, str(example)], cwd=shop, check=True, stdout=subprocess.PIPE)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_blocks_are_run_or_say_why_not(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(blocks_of(page)), "a fence that is not closed, or is indented"
    for block in blocks_of(page):
        assert block.language in ("console", "python", "pycon", "toml", "json", "sh", "text"), block.where
        assert block.language != "sh" or block.rule == "not run", f"{block.where}: a shell block is never run: say why"
        if block.language == "toml" and not block.skipped and not FILE.match(block.text):
            check_configuration(block)


def check_configuration(block: Block) -> None:
    table = tomllib.loads(block.text)
    assert table.keys() <= Config.model_fields.keys(), block.where
    parse_config({"data": {"interactions": "sales.csv"}, **table}, block.where)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    inside = [target for target in LINK.findall(text) if not re.match(r"[a-z]+:", target)]
    assert [target for target in inside if not leads_somewhere(page, target)] == []


def leads_somewhere(page: Path, target: str) -> bool:
    """Return whether a relative link leads to a file of the project, and its anchor to a heading there."""
    file, _, anchor = target.partition("#")
    path = (page.parent / file).resolve() if file else page
    return path.exists() and path.is_relative_to(ROOT) and (not anchor or anchor in anchors(path))


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_generated_pages_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, text in generate.pages().items():
        assert (generate.REFERENCE / name).read_text(encoding="utf-8") == text, f"{name}: run python docs/generate.py"


def test_every_command_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    for words in command_names(typer.main.get_command(app), ("frugalrec",)):
        assert f"\n## `{' '.join(words)}`\n" in page


def command_names(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from command_names(inner, (*words, name))
    if not hasattr(command, "commands"):
        yield words


def test_the_readme_shows_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace(" -q", "")
    shown = [block.text.strip() for block in blocks_of(ROOT / "README.md")]
    for command in ("pip install . && frugalrec demo", "pip install -e '.[dev]' && pytest"):
        assert command in shown
        assert f"\n{command}" in ci


def test_make_check_is_what_ci_runs() -> None:
    assert "\ncheck:\n\t.ci/run\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_json_reference_lists_every_key(shop: Path) -> None:
    decision = json.loads((shop / "shop-lm-run" / "decision.json").read_text(encoding="utf-8"))
    listed = re.findall(r"^\| `([^`]+)` \|", (DOCS / "reference" / "json.md").read_text(encoding="utf-8"), flags=re.M)
    assert sorted(listed) == sorted(set(keys(decision)))


MAPPINGS = {"quality": "METRIC", "slices": "SLICE", "lists": "LIST"}
OPEN = ("trials[].settings", "trials[].tuning[].settings")
"""Tables whose keys are a component's settings."""


def keys(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of all leaves; lists are ``[]``, names of metrics and the like are one word in capitals."""
    if path in OPEN:
        yield path
    elif isinstance(value, dict):
        within = MAPPINGS.get(path.rpartition(".")[2])
        for key, inner in value.items():
            part = within or ("AMOUNT" if key in AMOUNTS and path.startswith("trials[].cost") else key)
            yield from keys(inner, f"{path}.{part}" if path else part)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, f"{path}[]")
        if not value or not isinstance(value[0], dict | list):
            yield f"{path}[]"
    else:
        yield path


def test_ledger_reference_lists_every_key(shop: Path) -> None:
    entry = json.loads((shop / "shop-run" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()[0])
    listed = re.findall(r"^\| `([^`]+)` \|", (DOCS / "reference" / "ledger.md").read_text(encoding="utf-8"), flags=re.M)
    assert sorted(listed) == sorted([*entry, *AMOUNTS])
