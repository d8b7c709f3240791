"""What happens to normalisation layers between rounds.

Under non-IID data the mean of the clients' running variances misses the variance of their means, and averaged weights
give other activations than any client saw. Each policy is a row of flags; nobody else asks for a policy's name.

Local statistics: Andreux, Ogier du Terrail, Beguier, Tramel, Siloed Federated Learning for Multi-Centric Histopathology
Datasets, DCL 2020 (SiloBN). GroupNorm in federations: Hsieh, Phanishayee, Mutlu, Gibbons, The Non-IID Data Quagmire of
Decentralized Machine Learning, ICML 2020, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NormPolicy:
    """One way to treat norm layers.

    Attributes:
        summary: what it does, in one line.
        pooled: the variance of the average is that of the mixture of all clients' activations.
        stays: clients go on with their own running statistics; the server averages those that they send for its own
            evaluation and export only.
        recalibrated: after every round the clients run the new weights forward and the server pools the statistics.
    """

    summary: str
    pooled: bool = False
    stays: bool = False
    recalibrated: bool = False


NORM_POLICIES = {
    "average": NormPolicy("running means and variances are averaged like weights"),
    "pooled": NormPolicy("as average, but the variance is that of the mixture: it adds the variance of means", True),
    "local": NormPolicy("clients keep their running statistics, and send them for the server's evaluation", stays=True),
    "recalibrate": NormPolicy("the new weights' statistics are measured at the clients each round", recalibrated=True),
    "group_norm": NormPolicy("BatchNorm layers are replaced by GroupNorm, which has no statistics"),
}
