"""What a federated result is compared with: its ceiling and its floors, each an experiment of its own."""

from __future__ import annotations

from typing import Any, Literal

from fedmetric.config import Experiment
from fedmetric.training.site import Site

Baseline = Literal["central", "local", "random"]


def baseline_of(experiment: Experiment, baseline: Baseline) -> Experiment:
    """Return the experiment of a baseline: the same images, network, objective and number of passes.

    Args:
        experiment: the federated one.
        baseline: "central" puts all images into one client; "local" trains every client alone, which shares nothing,
            and evaluates each; "random" trains nothing.

    Central and local training have one round for each time that a client takes part in the federation on average, so
    that they see as many images and their learning rate falls in as many steps.
    """
    name = f"{experiment.name}-{baseline}"
    if baseline == "random":
        return changed(experiment, {"name": name, "federation": {"rounds": 0}})
    rounds = max(1, round(passes_of(experiment)))
    federation: dict[str, Any] = {"rounds": rounds, "clients_per_round": 0, "max_staleness": 0}
    if baseline == "local":
        return changed(experiment, {"name": name, "federation": {**federation, "rule": {"name": "solo"}}})
    federation["rule"] = {"name": "fedavg"}
    partition = {"name": "iid", "clients": 1}
    return changed(experiment, {"name": name, "partition": partition, "federation": federation})


def passes_of(experiment: Experiment) -> float:
    """Return how often a client takes part on average."""
    federation = experiment.federation
    if federation.clients_per_round == 0:
        return float(federation.rounds)
    clients = Site(experiment).num_clients
    if federation.sampling == "reshuffled":  # the last cohort of a pass may be smaller
        return federation.rounds / -(-clients // federation.clients_per_round)
    return federation.rounds * federation.clients_per_round / clients


def changed(experiment: Experiment, changes: dict[str, Any]) -> Experiment:
    """Return the experiment with some keys changed; a section that names a method is replaced whole."""
    tree = experiment.resolved()
    for key, value in changes.items():
        tree[key] = {**tree[key], **value} if isinstance(value, dict) and "name" not in value else value
    return Experiment.model_validate(tree)
