"""An in-process Grid: Flower's messages without ports, threads or Ray.

The names of Flower that are private are set here: the identity of the running task, which Flower keeps per process, and
the id of a message, which otherwise a SuperLink gives out. Pinned to flwr 1.41 and guarded by a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedmetric.clients.memory import read_memory, write_memory
from fedmetric.federation.base import Memory

RUN_ID = 1
SERVER_NODE = 1
FIRST_NODE = 2


def identify_process() -> None:
    """Set what Flower wants to know of a process before it may build messages."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = SERVER_NODE


def identify_message(message: Message, identifier: str) -> None:
    """Give a message its id."""
    message.metadata.__dict__["_message_id"] = identifier


def new_context(client: int, num_clients: int) -> Context:
    """Return the context of one client, as a SuperNode would hold it."""
    config: UserConfig = {"partition-id": client, "num-partitions": num_clients}
    return Context(run_id=RUN_ID, node_id=FIRST_NODE + client, node_config=config, state=RecordDict(), run_config={})


class Workers(Protocol):
    """Whatever runs the ClientApp."""

    def submit(self, identifier: str, message: Message, context: Context) -> None:
        """Take a message to be handled."""
        ...

    def result(self, identifier: str) -> tuple[Message, Context]:
        """Return the reply to a message and the client's context after it; waits for it."""
        ...


class LocalGrid(Grid):
    """Carry messages to a ClientApp on this machine, and hold the clients' contexts between rounds."""

    def __init__(self, num_clients: int, workers: Workers) -> None:
        identify_process()
        self._run = Run.create_empty(RUN_ID)
        self._workers = workers
        self._contexts = {FIRST_NODE + client: new_context(client, num_clients) for client in range(num_clients)}
        self._sent = 0
        self._under_way: dict[str, int] = {}

    def set_run(self, run: Run) -> None:
        """Replace the description of the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """Description of the run."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Build a message; see Flower's Grid."""
        return Message(content, dst_node_id=dst_node_id, message_type=message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        """List the nodes, one for each client."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the workers and return their ids."""
        identifiers = []
        for message in messages:
            self._sent += 1
            identifier = f"message-{self._sent}"
            identify_message(message, identifier)
            node = message.metadata.dst_node_id
            self._under_way[identifier] = node
            self._workers.submit(identifier, message, self._contexts[node])
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Wait for the replies to these messages."""
        replies = []
        for identifier in message_ids:
            reply, context = self._workers.result(identifier)
            self._contexts[self._under_way.pop(identifier)] = context
            replies.append(reply)
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push messages and wait for all replies."""
        return self.pull_messages(self.push_messages(messages))

    def snapshot(self) -> dict[int, Memory]:
        """Copy every client's state; clients that never took part have none."""
        states = {node - FIRST_NODE: read_memory(context.state) for node, context in self._contexts.items()}
        return {client: memory for client, memory in states.items() if memory}

    def restore(self, memories: Mapping[int, Memory]) -> None:
        """Put back every client's state."""
        for client, memory in memories.items():
            write_memory(self._contexts[FIRST_NODE + client].state, memory)
