"""Several workers: client processes that each handle one message at a time.

Processes come from a fork server that has imported torch once and computed nothing, so that no process forks with
threads. A worker that dies is an error reply for the client it was busy with, and is replaced.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from flwr.app import Context, Message

from fedmetric.simulations.engines.frames import pack_result, pack_task, unpack_result, unpack_task
from fedmetric.wire import ClientFailure, failure_reply

STOP = b""
JOIN_SECONDS = 5.0


def start_method() -> str:
    """Return "forkserver" where the system has it, else "spawn"."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def preload() -> None:
    """Start importing the client in the fork server now, while this process does something else."""
    if start_method() == "forkserver":
        multiprocessing.get_context("forkserver").set_forkserver_preload(
            ["fedmetric.simulations.engines.processes", "fedmetric.clients.app"]
        )
        from multiprocessing import forkserver

        forkserver.ensure_running()


def settings() -> dict[str, str]:
    """Return what a worker must know of this process; a fork server keeps the environment it was started with."""
    return {name: value for name, value in os.environ.items() if name.startswith(("FEDMETRIC_", "FLWR_"))}


def work(connection: Connection, environment: dict[str, str]) -> None:
    """Handle messages until told to stop; the body of a worker process."""
    os.environ.update(environment)
    from fedmetric.clients.app import app
    from fedmetric.simulations.engines.grid import identify_process
    from fedmetric.training.allocator import keep_freed_memory

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; Ctrl-C reaches the whole process group
    keep_freed_memory()
    identify_process()
    while True:
        try:
            frame = connection.recv_bytes()
        except EOFError:
            return
        if frame == STOP:
            return
        identifier, message, context = unpack_task(frame)
        reply = app(message, context)
        connection.send_bytes(pack_result(identifier, reply, context))


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    busy_with: str | None = None


class ProcessWorkers:
    """Run the ClientApp in N processes; results do not depend on N."""

    def __init__(self, num_workers: int) -> None:
        self.window = 2 * num_workers
        self._context = multiprocessing.get_context(start_method())
        self._workers = [self._start() for _ in range(num_workers)]
        self._queue: deque[str] = deque()
        self._tasks: dict[str, tuple[Message, Context]] = {}
        self._done: dict[str, tuple[Message, Context]] = {}

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, settings()), daemon=True)  # type: ignore[attr-defined]
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def submit(self, identifier: str, message: Message, context: Context) -> None:
        """Queue a message and hand out what idle workers can take."""
        self._tasks[identifier] = (message, context)
        self._queue.append(identifier)
        self._hand_out()

    def result(self, identifier: str) -> tuple[Message, Context]:
        """Wait for one reply; replies to others that come meanwhile are kept."""
        while identifier not in self._done:
            self._hand_out()
            busy = {worker.connection: worker for worker in self._workers if worker.busy_with is not None}
            for connection in wait(list(busy)):
                self._collect(busy[connection])  # type: ignore[index]
        return self._done.pop(identifier)

    def _hand_out(self) -> None:
        for position, worker in enumerate(self._workers):
            if worker.busy_with is None and self._queue:
                identifier = self._queue.popleft()
                worker.busy_with = identifier
                try:
                    worker.connection.send_bytes(pack_task(identifier, *self._tasks[identifier]))
                except OSError:
                    self._lost(worker, position)

    def _collect(self, worker: _Worker) -> None:
        identifier = worker.busy_with
        assert identifier is not None
        try:
            frame = worker.connection.recv_bytes()
        except (EOFError, OSError):
            self._lost(worker, self._workers.index(worker))
            return
        message, context = self._tasks.pop(identifier)
        reply, context.state = unpack_result(frame, message)
        self._done[identifier] = (reply, context)
        worker.busy_with = None

    def _lost(self, worker: _Worker, position: int) -> None:
        """Turn the death of a worker into an error reply, and start another."""
        identifier = worker.busy_with
        assert identifier is not None
        worker.process.join(JOIN_SECONDS)
        message, context = self._tasks.pop(identifier)
        client = int(context.node_config["partition-id"])
        round = int(message.metadata.group_id or 0)
        failure = ClientFailure(
            client, round, "training", f"its process ended with exit code {worker.process.exitcode}"
        )
        self._done[identifier] = (failure_reply(failure, message), context)
        worker.connection.close()
        self._workers[position] = self._start()

    def close(self) -> None:
        """End the worker processes."""
        for worker in self._workers:
            try:
                if worker.busy_with is None:
                    worker.connection.send_bytes(STOP)
                else:
                    worker.process.terminate()
            except OSError:
                pass
        for worker in self._workers:
            worker.process.join(JOIN_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
            worker.connection.close()


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
