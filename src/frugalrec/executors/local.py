"""Shards in this process, or in processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from frugalrec.errors import FrugalrecError
from frugalrec.executors._executor import STRAGGLES, Executor
from frugalrec.executors._work import Function, Outcome, known, perform

_PATIENCE = 2.0  # seconds for a process to end by itself


class Local(Executor):
    """One worker: shard after shard in this process, nothing copied. More: as many processes, begun when needed.

    Functions and payloads must be such that they can be sent (`pickle`), with more than one worker.
    """

    def __init__(
        self, workers: int = 1, checkpoints: str = "", attempts: int = 3, straggles: float = STRAGGLES
    ) -> None:
        self.elsewhere = self.shares_memory = workers > 1
        super().__init__(workers, checkpoints, attempts, straggles)
        self._processes: dict[int, tuple[SpawnProcess, Connection, list[Function]]] = {}
        self._finished: list[tuple[int, Outcome | None]] = []

    def submit(self, worker: int, function: Function, payload: Any, folder: str, place: str) -> None:
        """Run it now, or send it to the worker's process."""
        if not self.elsewhere:
            self._finished.append((worker, perform(function, payload, folder)))
            return
        if worker not in self._processes:
            context = multiprocessing.get_context("spawn")
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there,), daemon=True)
            process.start()
            there.close()
            self._processes[worker] = process, here, []
        _, connection, functions = self._processes[worker]
        try:
            if known(functions, function) is None:
                connection.send(function)
                functions.append(function)
            connection.send((known(functions, function), payload, folder, place))
        except (BrokenPipeError, ConnectionResetError):
            self._lose(worker)

    def wait(self, seconds: float) -> list[tuple[int, Outcome | None]]:
        """Return who has finished or died."""
        finished, self._finished = self._finished, []
        if finished or not self._processes:
            return finished
        owners = {connection: worker for worker, (_, connection, _) in self._processes.items()}
        for ready in wait(list(owners), seconds):
            assert isinstance(ready, Connection)
            try:
                finished.append((owners[ready], ready.recv()))
            except (EOFError, ConnectionResetError):
                self._lose(owners[ready])
        return [*finished, *self._taken()]

    def stop(self, worker: int) -> None:
        """Kill the worker's process; another begins when it is needed."""
        if worker in self._processes:
            process, connection, _ = self._processes.pop(worker)
            process.kill()
            process.join()
            connection.close()

    def close(self) -> None:
        """Let all processes end, which hear that nobody asks any more; kill those that do not."""
        for _, connection, _ in self._processes.values():
            connection.close()
        for process, _, _ in self._processes.values():
            process.join(_PATIENCE)
        for worker in list(self._processes):
            self.stop(worker)
        super().close()

    def _lose(self, worker: int) -> None:
        """Note that a worker died; raises `FrugalrecError` when nobody killed it, since the next would end as well."""
        process, _, _ = self._processes[worker]
        process.join(_PATIENCE)
        code = process.exitcode or 0
        self.stop(worker)
        if code > 0:
            raise FrugalrecError(
                f"a worker's process could not go on (exit code {code}); what it printed above says why",
                hint="in a script, what starts workers must be below if __name__ == '__main__':, since each imports it",
            ) from None
        self._finished.append((worker, None))

    def _taken(self) -> list[tuple[int, Outcome | None]]:
        taken, self._finished = self._finished, []
        return taken


def _serve(connection: Connection) -> None:
    """What a worker's process does: learn functions, and answer what they say of payloads, until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who gives out the work, and ends this process
    functions: list[Function] = []
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        if isinstance(message, tuple):
            place, *rest = message
            connection.send(perform(functions[place], *rest))
        else:
            functions.append(message)


__all__ = ["Local"]
