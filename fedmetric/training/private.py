"""What of an experiment's privacy follows from the federation that it meets."""

from __future__ import annotations

from fedmetric.config import Experiment
from fedmetric.layout import Routes
from fedmetric.models.embedder import Embedder
from fedmetric.privacy.planning import PrivacyPlan, plan_privacy
from fedmetric.privacy.schedule import Schedule
from fedmetric.privacy.secure.noise import mechanism_of
from fedmetric.training.site import Site


def wants_settling(experiment: Experiment) -> bool:
    """Return whether an option must be worked out once the number of clients is known."""
    return bool(experiment.privacy.options().get("target_epsilon"))


def with_settled_privacy(experiment: Experiment, schedule: Schedule) -> Experiment:
    """Write the options that follow from the others, such as the noise for an epsilon, into the experiment.

    Raises:
        ConfigError: there are none, such as noise for an epsilon that none is enough for.
    """
    changes = dict(mechanism_of(experiment).settled(schedule))
    return experiment.model_copy(update={"privacy": experiment.privacy.model_copy(update=changes)})


def plan_of(experiment: Experiment) -> PrivacyPlan | None:
    """Plan the privacy of an experiment, on the data set that it names; None where it claims nothing.

    Raises:
        ConfigError: the mechanism and the training do not fit.
    """
    site = Site(experiment)
    if wants_settling(experiment):
        site = Site(with_settled_privacy(experiment, site.schedule))
    embedder, routes = site.trainer.embedder, site.trainer.routes
    return plan_privacy(site.trainer.mechanism, site.schedule, shared_parts(embedder, routes))


def shared_parts(embedder: Embedder, routes: Routes) -> dict[str, int]:
    """Count the numbers that are trained and shared in each part of a network: children of the backbone, then heads."""
    found: dict[str, int] = {}
    for name, parameter in embedder.named_parameters():
        if name in routes.up and parameter.requires_grad:
            group, *rest = name.split(".")
            part = f"{group}.{rest[0]}" if rest else group
            found[part] = found.get(part, 0) + parameter.numel()
    return found
