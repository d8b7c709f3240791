"""What may leave beside what a mechanism covers: nothing."""

from __future__ import annotations

from fedmetric.errors import ConfigError
from fedmetric.federation.base import FederationRule
from fedmetric.privacy.base import Training


def check_only_parameters_leave(training: Training, wanted_by: str) -> None:
    """Refuse training in which tensors that are not trained parameters would leave and change: they get no noise.

    Frozen tensors are alike everywhere and tell nothing.

    Raises:
        ConfigError: names them, and what to change.
    """
    check_covered(training, f"privacy '{wanted_by}'")


def check_covered(training: Training, by: str) -> None:
    """Refuse tensors that would leave and change beside trained parameters; see `check_only_parameters_leave`.

    Raises:
        ConfigError: names them, and what to change.
    """
    layout, up = training.layout, set(training.routes.up)
    if statistics := up & {*layout.statistics, *layout.statistics.values()}:
        raise ConfigError(
            f"{by} covers trained parameters, and {len(statistics)} running statistics of norm layers "
            "would leave beside them; set federation.norm to 'group_norm'"
        )
    if targets := up & layout.targets:
        raise ConfigError(
            f"{by} covers trained parameters, and {len(targets)} tensors of the momentum target would "
            "leave beside them; set federation.target to 'reset' or 'local'"
        )


def check_starts_from_the_server(training: Training, wanted_by: str) -> None:
    """Refuse rules under which a client goes on from weights of its own: its move would be counted from those.

    Raises:
        ConfigError: names the rule.
    """
    layout, routes = training.layout, training.routes
    own = [name for name in routes.up if name in layout.parameters and name not in set(routes.down)]
    if own or type(training.rule).receive is not FederationRule.receive:
        raise ConfigError(
            f"privacy '{wanted_by}' counts a client's move from the weights that the server sent, and under "
            f"federation.rule '{training.experiment.federation.rule.name}' clients go on from weights of their own; "
            "use fedavg, fedavgm, fedadam or fedyogi"
        )
