"""What the workers of these tests do; in a module of its own, so that other processes can import it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec.cost import charge
from frugalrec.errors import DataError


def halves(x: int) -> dict[str, Any]:
    charge(flops=float(x), tokens_in=1.0)
    return {"y": np.array([x / 2]), "empty": np.zeros((0, 3), dtype=np.int32)}


def plus(left: Any, right: Any) -> dict[str, Any]:
    return {"y": left["y"] + right["y"], "empty": left["empty"]}


def plus_in_place(left: Any, right: Any) -> bool:
    left["y"] += right["y"]
    return True


def not_in_place(left: Any, right: Any) -> bool:
    return False


def large_that_dies_once(payload: tuple[float, str]) -> dict[str, Any]:
    part, folder = payload
    if part == 3.0 and first_time(folder, "dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    return large(part)


def dies_once(payload: tuple[int, str]) -> dict[str, Any]:
    """Be killed on the first attempt at number 2, as by the system when memory runs out."""
    x, folder = payload
    if x == 2 and first_time(folder, "dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    return halves(x)


def always_dies(x: int) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def hangs_once(payload: tuple[int, str]) -> dict[str, Any]:
    x, folder = payload
    if x == 4 and first_time(folder, "hangs"):
        time.sleep(600)
    return halves(x)


def no_file_once(payload: tuple[int, str]) -> dict[str, Any]:
    x, folder = payload
    if x == 1 and first_time(folder, "file"):
        raise FileNotFoundError("a network share that is away for a moment")
    return halves(x)


def noted(payload: tuple[int, str]) -> dict[str, Any]:
    x, folder = payload
    with (Path(folder) / "done").open("a") as file:
        file.write(f"{x}\n")
    return halves(x)


def refuses_the_last(payload: tuple[int, str]) -> dict[str, Any]:
    if payload[0] == 4 and first_time(payload[1], "refused"):
        raise DataError("a bad shard", hint="mend it")
    return noted(payload)


def large(x: float) -> dict[str, Any]:
    return {"y": np.full((300, 500), float(x)), "empty": np.zeros(0)}


def process_number(_: int) -> dict[str, Any]:
    time.sleep(0.05)
    return {"pid": np.array([os.getpid()])}


class UnsendableError(Exception):
    def __init__(self, one: str, *, other: str) -> None:
        super().__init__(f"{one} and {other}")


def fails(_: int) -> dict[str, Any]:
    raise UnsendableError("this", other="that")


def first_time(folder: str, name: str) -> bool:
    try:
        (Path(folder) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def halves_of(payload: tuple[int, str]) -> dict[str, Any]:
    return halves(payload[0])


def first_waits_for_others(payload: tuple[int, str]) -> dict[str, Any]:
    """Number 0 is done when the three others are."""
    x, folder = payload
    done = Path(folder) / "done"
    while x == 0 and (not done.exists() or len(done.read_text().split()) < 3):
        time.sleep(0.01)
    return noted(payload)


def counted_and_slow(payload: tuple[int, str]) -> dict[str, Any]:
    """Number 4 takes a second more than the others."""
    x, folder = payload
    with (Path(folder) / "begun").open("a") as file:
        file.write(f"{x}\n")
    time.sleep(float(x == 4))
    return halves(x)


def slowly_noted(payload: tuple[int, str]) -> dict[str, Any]:
    time.sleep(1.0)
    return noted(payload)
