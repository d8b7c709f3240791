"""Queues of past projections: lightly's memory banks, made part of the state of a network.

lightly registers a bank and its pointer as non-persistent buffers, so that a resumed run would begin with a queue of
noise. Its bank drops what does not fit before its end: with 100 slots and batches of 64 the second batch leaves 36.
"""

from __future__ import annotations

from torch import nn

from fedmetric.errors import ConfigError


def make_persistent(bank: nn.Module) -> None:
    """Put the entries of one of lightly's memory banks, and the pointer to the oldest, into its state."""
    for name in ("bank", "bank_ptr"):
        bank.register_buffer(name, bank.get_buffer(name), persistent=True)


def check_queue(queue_size: int, client: int, num_images: int) -> None:
    """Refuse a client whose own images would fill less than the queue.

    Raises:
        ConfigError: says how long the queue may be.
    """
    if queue_size > num_images:
        raise ConfigError(
            f"objective.queue_size={queue_size} but client {client} holds {num_images} images; "
            f"lower objective.queue_size to at most {num_images}, or give every client more images"
        )
