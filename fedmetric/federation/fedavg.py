"""FedAvg.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas, Communication-Efficient Learning of Deep Networks from Decentralized
Data, AISTATS 2017, algorithm 1: w <- sum_k (n_k / n) w_k, with n_k the images trained on and n their sum over the
replies that arrived.
"""

from fedmetric.federation.base import FederationRule
from fedmetric.registry import rules


@rules.register("fedavg")
class FedAvg(FederationRule):
    """Average the clients' weights by the number of images each trained on."""
