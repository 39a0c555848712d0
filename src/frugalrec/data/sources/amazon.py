"""Amazon reviews (2014 and 2018): JSON lines with ``reviewerID``, ``asin``, ``overall`` and ``unixReviewTime``.

Items come from the ``meta_…`` file: title, brand, category (``categories`` in 2014) and description (its paragraphs
joined). Reviews of 2023 have other keys, and are plain JSON lines with ``item = "parent_asin"``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from frugalrec.data.sources import jsonl
from frugalrec.data.sources._scratch import Scratch
from frugalrec.data.sources._source import BY_CONTENT, NO, Columns, ItemRows, Rows, Sight
from frugalrec.errors import DataError

ABOUT = {"title", "brand", "category", "categories", "description"}


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by the keys on its first lines."""
    keys = set(jsonl.keys_in(*sight.head))
    reviews, products = {"reviewerID", "asin"} <= keys, "asin" in keys and bool(keys & ABOUT) and "user_id" not in keys
    literals = sight.first.startswith("{'") and "'asin':" in sight.first
    return BY_CONTENT if reviews or products or literals else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the reviews in a file as events."""
    amazon = replace(
        columns,
        user="reviewerID",
        item="asin",
        timestamp=columns.timestamp and "unixReviewTime",
        rating=columns.rating and "overall",
    )
    return jsonl.read_log(scratch, path, amazon)


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the products in a ``meta_…`` file."""
    sight = Sight(path)
    if sight.first.startswith("{'"):
        raise DataError(
            f"{path}: expected JSON lines, found Python literals (as the metadata of 2014 are)",
            hint="rewrite each line with json.dumps(ast.literal_eval(line))",
        )
    category = "categories" if "categories" in jsonl.keys_in(*sight.head) else "category"
    fields = {
        "title": ("title", ", "),
        "brand": ("brand", ", "),
        "category": (category, ", "),
        "description": ("description", " "),
    }
    rows = jsonl.items(jsonl.open_lines(scratch, path), "asin", fields, text=("title",))
    return replace(
        rows, notes=(*rows.notes, f"{path}: title, brand, {category} and description were read, no other key")
    )
