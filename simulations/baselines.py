"""What a federated result is compared with: its ceiling and its floors, each an experiment of its own."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ValidationError

from fedmetric.config import Experiment
from fedmetric.config.compatibility import only_rule
from fedmetric.errors import ConfigError
from fedmetric.objectives.base import PROXIES
from fedmetric.registry import rules
from fedmetric.training.site import Site

Baseline = Literal["central", "local", "random"]


def baseline_of(experiment: Experiment, baseline: Baseline) -> Experiment:
    """Return the experiment of a baseline: the same images, network, objective and number of passes.

    Args:
        experiment: the federated one.
        baseline: "central" puts all images into one client, and keeps a rule that changes proxies; "local" trains every
            client alone, which shares nothing, and evaluates each; "random" trains nothing.

    Central and local training have one round for each time that a client takes part in the federation on average, so
    that they see as many images and their learning rate falls in as many steps.
    """
    name = f"{experiment.name}-{baseline}"
    federation: dict[str, Any]
    if baseline == "random":
        federation = {"rounds": 0, "rule": {"name": only_rule(experiment.objective) or "fedavg"}}
        return changed(experiment, {"name": name, "federation": federation})
    rounds = max(1, round(passes_of(experiment)))
    federation = {"rounds": rounds, "clients_per_round": 0, "max_staleness": 0}
    if experiment.federation.norm == "recalibrate":  # there is no average whose statistics would not fit
        federation["norm"] = "average"
    warmup = round(experiment.local.warmup_rounds * rounds / max(1, experiment.federation.rounds))
    changes: dict[str, Any] = {"name": name, "federation": federation, "local": {"warmup_rounds": warmup}}
    if baseline == "local":
        federation["rule"] = {"name": "solo"}
    else:
        if experiment.labelled_clients < 1:
            raise ConfigError(
                "--baseline central puts all images at one place, and with labelled_clients below 1 it is open which "
                "of them would have labels; set labelled_clients to 1 for the ceiling"
            )
        rule = experiment.federation.rule
        if PROXIES not in rules[rule.name].traits.get("requires", ()):  # what changes proxies belongs to the loss
            federation["rule"] = {"name": only_rule(experiment.objective) or "fedavg"}
        changes["partition"] = {"name": "iid", "clients": 1}
    return changed(experiment, changes)


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
    """Return the experiment with some keys changed; a section that names a method is replaced whole.

    Raises:
        ConfigError: the result cannot work.
    """
    tree = experiment.resolved()
    for key, value in changes.items():
        tree[key] = {**tree[key], **value} if isinstance(value, dict) and "name" not in value else value
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise ConfigError(f"this experiment has no such baseline: {problems}") from error
