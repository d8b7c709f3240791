"""FedUV.

Hosseini, Park, Yun, Louizos, Soriaga, Welling, Federated Learning of User Verification Models Without Sharing
Embeddings, ICML 2021, equations 2 and 3: every class has a codeword v in {-1, +1}^c, and the loss is
max(0, 1 - v . (A g(x)) / c). Codewords are far apart by construction, so no negative and no proxy has to be shared.

Differences: the code is the first-order Reed-Muller code of length c, in which two different words differ in c / 2
places or in all c, instead of a BCH code. A word's message is the client's index in `id_bits` bits, so that no two
clients have the same word, followed by bits drawn for each class. A client may hold several classes. Outputs A g(x) are
scaled to length sqrt(c), so that the correlation is a cosine and the hinge is bounded.

What is secret: codewords are the private group "words" and are never sent. They are drawn from the experiment's seed
as all random choices are, so whoever knows the seed and the client's index can draw them again: within an experiment
that all sites know they are unshared, not secret from an adversary.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from fedmetric.errors import ConfigError
from fedmetric.objectives.base import Batch, Objective
from fedmetric.objectives.labelled import count_labelled, keep_labelled, zero_of
from fedmetric.options import Count, Whole
from fedmetric.registry import objectives


def reed_muller_words(messages: Tensor, bits: int) -> Tensor:
    """Encode messages with the first-order Reed-Muller code.

    Args:
        messages: (K,) int64 in [0, 2^(bits + 1)).
        bits: m; words are 2^m long.

    Returns:
        (K, 2^m) float32 of -1 and +1: place x holds the parity of a_0 + sum_i a_i x_i.
    """
    places = torch.arange(2**bits)
    parity = (messages >> bits)[:, None].expand(-1, 2**bits).clone()
    for bit in range(bits):
        parity = parity ^ (((messages >> bit) & 1)[:, None] & ((places >> bit) & 1)[None, :])
    return 1.0 - 2.0 * parity.float()


class Words(nn.Module):
    """The codewords of a client's classes, (K, c) float of -1 and +1; zeros before they are drawn."""

    def __init__(self, num_classes: int, length: int) -> None:
        super().__init__()
        self.register_buffer("code", torch.zeros(num_classes, length))


@objectives.register("feduv")
class FedUV(Objective):
    """Train towards a codeword for each class that no other client has and that never leaves."""

    num_views = 1
    needs_labels = True
    needs_classes = True
    decomposable = True
    groups = ("matrix", "words")
    private = ("words",)
    min_batch = 1
    min_classes = 1

    def __init__(self, embedding_dim: int, num_classes: int, *, code_bits: Count = 9, id_bits: Whole = 5) -> None:
        """Build the code matrix A.

        Args:
            embedding_dim: D of the backbone.
            num_classes: of the client, K; at most 2^(code_bits + 1 - id_bits).
            code_bits: m of the code: words have 2^m places.
            id_bits: bits of a word's message that tell clients apart: at most 2^id_bits clients.
        """
        super().__init__()
        if id_bits > code_bits:
            raise ConfigError(
                f"objective.id_bits = {id_bits} leaves no bit for classes; at most code_bits = {code_bits}"
            )
        self.matrix = nn.Linear(embedding_dim, 2**code_bits, bias=False)
        self.words = Words(num_classes, 2**code_bits)
        self.num_classes, self.code_bits, self.id_bits = num_classes, code_bits, id_bits
        self._class_weights = torch.ones(num_classes)

    @property
    def own_bits(self) -> int:
        """Bits of a message that are drawn for each class."""
        return self.code_bits + 1 - self.id_bits

    def meet(self, client: int, backbone: nn.Module, batches: Iterable[Batch], generator: Generator) -> None:
        """Draw the codewords; see `Objective.meet`."""
        drawn = torch.randperm(2**self.own_bits, generator=generator)[: self.num_classes]
        self.words.get_buffer("code").copy_(reed_muller_words((client << self.own_bits) | drawn, self.code_bits))

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Correlate the scaled outputs with the codewords; 0 where no image has a label; see `Objective.forward`."""
        views, labels = keep_labelled(batch)
        if len(labels) == 0:
            return zero_of(backbone, self.matrix)
        outputs = self.matrix(backbone(torch.cat(views)).flatten(1).float())
        classes = labels.repeat(len(views))
        words, weights = self.words.get_buffer("code")[classes], self._class_weights.to(outputs)[classes]
        return (weights * functional.relu(1 - functional.cosine_similarity(outputs, words, dim=1))).mean()

    def weigh(self, weights: Tensor) -> None:
        """Weigh by class in the mean over images; see `Objective.weigh`."""
        self._class_weights = weights

    def contributing(self, batch: Batch) -> int:
        """Count the labelled images; see `Objective.contributing`."""
        return count_labelled(batch)

    def check_client(self, client: int, num_images: int, batch_size: int) -> None:
        """Refuse a client or a class without a codeword of its own; see `Objective.check_client`."""
        super().check_client(client, num_images, batch_size)
        if client >= 2**self.id_bits:
            raise ConfigError(
                f"client {client} has no codewords: objective.id_bits = {self.id_bits} is for {2**self.id_bits} "
                "clients; raise it"
            )
        if self.num_classes > 2**self.own_bits:
            raise ConfigError(
                f"client {client} has {self.num_classes} classes and {2**self.own_bits} codewords; raise "
                "objective.code_bits, or lower id_bits"
            )
