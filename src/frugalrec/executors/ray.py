"""Shards on a Ray cluster: one on this machine, or one that runs already (extra ``ray``)."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
import time
from dataclasses import replace
from typing import Any

import frugalrec
from frugalrec.cost import threads
from frugalrec.errors import ConfigError, FrugalrecError, MissingExtraError
from frugalrec.executors._executor import STRAGGLES, Executor
from frugalrec.executors._work import Function, Outcome, Result, known, perform

EXTRA = ("ray", "ray")
OLDEST = (2, 52)
"""The first version that asks for a token."""

STARTS_SECONDS = 120.0
"""A worker of a cluster that has not begun by then is waited for no longer: others may hold its processors."""

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Set to 0, Ray stays on 127.0.0.1, on any system. (Told that its own address is a loopback one, it listens to all.)"""


class Ray(Executor):
    """Each worker is an actor with one CPU, so that what a function loads is loaded once a worker.

    Without ``address`` a cluster is started on this machine for as long as the executor lives: it listens on loopback
    alone and asks for a token (``RAY_AUTH_MODE=token``, unless that is set otherwise) made for it. With ``address``
    (``auto``, ``host:port``) a running one is used, whose token Ray finds where its documentation says, and on whose
    machines the same version of frugalrec must be installed; ``checkpoints`` must then be a place that all of them see.

    Raises `MissingExtraError` without Ray or with one too old, and `ConfigError` for a cluster of another version.
    """

    restart_seconds = 20.0

    def __init__(
        self,
        workers: int = 1,
        checkpoints: str = "",
        address: str = "",
        attempts: int = 3,
        straggles: float = STRAGGLES,
    ) -> None:
        super().__init__(workers, checkpoints, attempts, straggles)
        early = "ray" in sys.modules and "RAY_AUTH_MODE" not in os.environ
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        if not address:
            early = early or ("ray" in sys.modules and _LOOPBACK not in os.environ)
            os.environ.setdefault(_LOOPBACK, "0")
            os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own, 15, starves workers on a busy machine
            if not any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
                os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        self._ray = require_ray()
        self._own = not self._ray.is_initialized()
        if self._own and early:
            raise ConfigError(
                "ray was imported before it could be told to stay on this machine and to ask for a token",
                hint=f"set RAY_AUTH_MODE=token and {_LOOPBACK}=0 before the import, or call ray.init yourself",
            )
        if self._own:
            _check_address(address)
            self._connect(address)
        self._actors: dict[int, tuple[Any, list[Function]]] = {}
        self._running: dict[Any, int] = {}
        self._arrays: dict[Any, Any] = {}
        self.shares_memory = self._own and not address
        self._actor = self._ray.remote(num_cpus=1, max_restarts=0)(_Worker)
        if (processors := int(self._ray.cluster_resources().get("CPU", 0))) < workers:
            self.close()
            raise ConfigError(
                f"{workers} workers are asked for, and the Ray cluster has {processors} of the processors they need",
                hint="ask for fewer workers, or add machines first",
            )

    def submit(self, worker: int, function: Function, payload: Any, folder: str, place: str) -> None:
        """Send it to the worker's actor."""
        if worker not in self._actors:
            # All that are missing, at once: a process takes seconds to start.
            started = {n: self._actor.remote(threads()) for n in range(self.workers) if n not in self._actors}
            deadline = time.monotonic() + STARTS_SECONDS
            for actor in started.values():
                self._check(actor, deadline - time.monotonic())
            self._actors |= {n: (actor, []) for n, actor in started.items()}
        actor, functions = self._actors[worker]
        if known(functions, function) is None:
            self._taught(actor, function)
            functions.append(function)
        outcome, arrays = actor.run.options(num_returns=2).remote(known(functions, function), payload, folder, place)
        self._running[outcome] = worker
        self._arrays[outcome] = arrays

    def wait(self, seconds: float) -> list[tuple[int, Outcome | None]]:
        """Return who has finished or died; raises `FrugalrecError` when the cluster is gone."""
        if not self._running:
            return []
        ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        if not ready:
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        return [(self._running[reference], self._outcome(reference)) for reference in ready]

    def stop(self, worker: int) -> None:
        """Kill the worker's actor; another begins when it is needed."""
        for reference in [reference for reference, other in self._running.items() if other == worker]:
            del self._running[reference], self._arrays[reference]
        if worker in self._actors:
            actor, _ = self._actors.pop(worker)
            self._ray.kill(actor)

    def close(self) -> None:
        """Stop the workers, and the cluster if it was started for them."""
        for worker in list(self._actors):
            self.stop(worker)
        if self._own:
            self._ray.shutdown()
        super().close()

    def _outcome(self, reference: Any) -> Outcome | None:
        errors = self._ray.exceptions
        worker = self._running[reference]
        try:
            outcome: Outcome | None = self._ray.get(reference)
        except (errors.RayActorError, errors.ObjectLostError):
            del self._running[reference], self._arrays[reference]
            self._actors.pop(worker, None)
            return None
        except errors.RayError as error:
            kept = f"; what is finished is kept in {self.checkpoints}" if self.checkpoints else ""
            raise FrugalrecError(
                f"the Ray cluster does not answer: {error}{kept}", hint="start it again, and run the same command"
            ) from error
        del self._running[reference]
        arrays = self._arrays.pop(reference)
        assert outcome is not None
        return outcome if outcome.result or outcome.error else replace(outcome, result=Result(reference=arrays))

    def _connect(self, address: str) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if not address:
            options |= {"num_cpus": self.workers, "include_dashboard": False}
        try:
            self._ray.init(address=address or "local", **options)
        except RuntimeError as error:
            raise _told(error, address, self._ray.__version__) from error
        except self._ray.exceptions.RayError as error:  # no token was found
            raise _shut_out(address, str(error).partition(". ")[0]) from error
        except (ConnectionError, ValueError) as error:
            # Something listens at host:port, or this would not have been tried.
            raise (_shut_out if ":" in address else _nothing_at)(address, error) from error

    def _taught(self, actor: Any, function: Function) -> None:
        try:
            self._ray.get(actor.learn.remote(function))
        except self._ray.exceptions.RayActorError:
            return  # what is asked of it next will say so
        except self._ray.exceptions.RayError as error:
            raise ConfigError(
                f"a worker of the Ray cluster cannot load its function: {str(error).strip().splitlines()[-1]}",
                hint="the modules it comes from must be installed there too",
            ) from error

    def _check(self, actor: Any, seconds: float) -> None:
        try:
            there = self._ray.get(actor.version.remote(), timeout=max(1.0, seconds))
        except self._ray.exceptions.GetTimeoutError as error:
            free, whole = (
                int(of().get("CPU", 0)) for of in (self._ray.available_resources, self._ray.cluster_resources)
            )
            raise FrugalrecError(
                f"no worker began in {STARTS_SECONDS:.0f} s: {free} of {whole} processors of the Ray cluster are free, "
                f"and {self.workers} workers are asked for",
                hint="ask for fewer workers, or wait for who holds the others",
            ) from error
        except self._ray.exceptions.RayError as error:
            raise ConfigError(
                f"a worker of the Ray cluster cannot load frugalrec: {str(error).strip().splitlines()[-1]}",
                hint=f"pip install 'frugalrec[ray]=={frugalrec.__version__}' on every machine of the cluster",
            ) from error
        if there != frugalrec.__version__:
            raise ConfigError(
                f"the Ray cluster has frugalrec {there}, here it is {frugalrec.__version__}",
                hint=f"pip install 'frugalrec[ray]=={frugalrec.__version__}' on every machine of the cluster",
            )


class _Worker:
    """What an actor does."""

    def __init__(self, n_threads: int) -> None:
        os.environ["FRUGALREC_THREADS"] = str(n_threads)
        self._functions: list[Function] = []

    def version(self) -> str:
        return frugalrec.__version__

    def learn(self, function: Function) -> None:
        self._functions.append(function)

    def run(self, function: int, payload: Any, folder: str, place: str) -> tuple[Outcome, Any]:
        outcome = perform(self._functions[function], payload, folder, place)
        if outcome.result is None or outcome.result.folder or outcome.result.passed:
            return outcome, None
        # Arrays stay in the cluster's store until somebody adds them up.
        return replace(outcome, result=None), dict(outcome.result.arrays or {})


def require_ray() -> Any:
    """Return the module ray; raises `MissingExtraError` where it is not installed, or too old."""
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError.of(*reversed(EXTRA)) from error
    found = tuple(int(part) for part in re.findall(r"\d+", ray.__version__)[:2])
    if found < OLDEST:
        raise MissingExtraError(
            f"ray {ray.__version__} is installed, expected {'.'.join(map(str, OLDEST))} or newer: older ones ask for "
            "no token",
            hint="pip install -U 'frugalrec[ray]'",
        )
    return ray


def _check_address(address: str) -> None:
    """Raise `ConfigError` unless something listens at ``host:port``: Ray itself would end the process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise _nothing_at(address, error) from error


def _shut_out(address: str, error: object) -> ConfigError:
    return ConfigError(
        f"the Ray cluster at '{address}' lets nobody in from here: {error}",
        hint="set RAY_AUTH_TOKEN to its token, which ray get-auth-token tells there; it must be of Ray's version here",
    )


def _nothing_at(address: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"no Ray cluster at '{address}': {error}", hint="ray start --head begins one; or leave the address out"
    )


def _told(error: RuntimeError, address: str, here: str) -> FrugalrecError:
    if "Version mismatch" in str(error):
        versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", str(error))
        there = " with Python ".join(versions[0]) if versions else "another version"
        return ConfigError(
            f"the cluster at '{address}' runs Ray {there}, here it is {' with Python '.join(versions[-1]) or here}",
            hint="install the cluster's version of Ray (and Python) here, or this one there",
        )
    hint = "set RAY_AUTH_TOKEN to the cluster's token (ray get-auth-token tells it there)" if address else ""
    return FrugalrecError(f"Ray could not be started: {error}", hint=hint)


__all__ = ["Ray"]
