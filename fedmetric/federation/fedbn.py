"""FedBN.

Li, Jiang, Zhang, Kamp, Dou, FedBN: Federated Learning on Non-IID Features via Local Batch Normalization, ICLR 2021,
algorithm 1. Norm layers are found by module, so those of shortcuts are among them.

For classes or sites that nobody trained on, the paper averages the clients' norm layers; so does this server, for its
own evaluation and export. They are therefore uploaded, but never taken from the server: use a norm policy without
statistics, such as group_norm, where they may not leave.
"""

from __future__ import annotations

from collections.abc import Collection

from fedmetric.federation.base import FederationRule
from fedmetric.registry import rules


@rules.register("fedbn")
class FedBN(FederationRule):
    """Let every client go on with norm layers of its own; average everything else."""

    shares = "weights; norm layers are sent for the server's evaluation, and not taken from it"

    def kept(self) -> Collection[str]:
        """List the tensors of all norm layers; see `FederationRule.kept`."""
        return self.layout.norms
