"""Search: hyper-parameters are drawn, judged on classes kept from training, and never on the classes of the report.

A sweep's file asks for it with two tables:

    search = { sampler = "random", trials = 20, metric = "recall@1" }
    space = { "local.lr" = { low = 1e-4, high = 1e-2, log = true }, "objective.temperature" = { values = [0.1, 0.2] } }

Every trial is a cell of the sweep, with its seeds and folds. What a trial draws depends on the search's seed, its
number and, for samplers that learn, the trials before it, so a search that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fedmetric.errors import ConfigError
from fedmetric.evaluation.directions import LOW_IS_GOOD
from fedmetric.seeds import numpy_generator

Drawn = Mapping[str, Any]


class Dimension(BaseModel):
    """What one key of the experiment may be: one of some values, or a number of an interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        interval = self.low is not None and self.high is not None and self.low < self.high
        if bool(self.values) == interval:
            raise ValueError("give either values, or low and high with low below high")
        if self.log and not (self.low or 0) > 0:
            raise ValueError("log needs low and high above 0")
        return self


class Search(BaseModel):
    """How trials are drawn and judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sampler: Literal["random", "optuna"] = "random"
    trials: int = Field(20, ge=1)
    metric: str = "recall@1"
    seed: int = Field(0, ge=0)
    prune: bool = False

    @property
    def smaller_is_better(self) -> bool:
        """Whether the metric is an error or a distance."""
        return self.metric in LOW_IS_GOOD


@dataclass(frozen=True)
class Trial:
    """One set of values and what came of it.

    Attributes:
        number: from 0.
        drawn: the values by key.
        value: mean of the metric over seeds and folds; None while it runs, or where it failed or was stopped early.
        by_round: the metric after each evaluated round, for samplers that compare unfinished trials.
        stopped: whether it was stopped early.
    """

    number: int
    drawn: Drawn
    value: float | None = None
    by_round: Mapping[int, float] = field(default_factory=dict)
    stopped: bool = False


class Sampler(Protocol):
    """Draws trials; everything it knows is in the trials it is shown."""

    def draw(self, number: int, before: Sequence[Trial]) -> Drawn:
        """Return the values of a trial, given those before it."""
        ...

    def hopeless(self, by_round: Mapping[int, float], before: Sequence[Trial]) -> bool:
        """Return whether a running trial should be stopped."""
        ...


class RandomSampler:
    """Independent uniform draws, on a logarithmic scale where asked.

    Bergstra, Bengio, Random Search for Hyper-Parameter Optimization, JMLR 2012.
    """

    def __init__(self, search: Search, space: Mapping[str, Dimension]) -> None:
        self._seed, self._space = search.seed, space

    def draw(self, number: int, before: Sequence[Trial]) -> Drawn:
        """Draw from (seed, number) alone; see `Sampler`."""
        return {
            key: _draw(dimension, float(numpy_generator(self._seed, f"search {key}", step=number).random()))
            for key, dimension in self._space.items()
        }

    def hopeless(self, by_round: Mapping[int, float], before: Sequence[Trial]) -> bool:
        """Never; see `Sampler`."""
        return False


def _draw(dimension: Dimension, share: float) -> Any:
    if dimension.values:
        return dimension.values[min(int(share * len(dimension.values)), len(dimension.values) - 1)]
    low, high = float(dimension.low or 0), float(dimension.high or 0)
    if dimension.whole:
        high += 1
    value = low * (high / low) ** share if dimension.log else low + share * (high - low)
    return min(int(value), int(high) - 1) if dimension.whole else value


def sampler_of(search: Search, space: Mapping[str, Dimension]) -> Sampler:
    """Build the sampler that a search names.

    Raises:
        ConfigError: it needs an extra that is not installed.
    """
    if search.sampler == "random":
        return RandomSampler(search, space)
    try:
        from fedmetric.simulations.optuna_sampler import OptunaSampler
    except ModuleNotFoundError as error:
        raise ConfigError(
            "search.sampler 'optuna' needs the extra 'sweep': pip install 'fedmetric[sweep]', or use 'random'"
        ) from error
    return OptunaSampler(search, space)


def label_of_trial(number: int, drawn: Drawn) -> str:
    """Name a trial: its number and what was drawn."""
    return " ".join(
        [f"trial {number:03d}", *(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in drawn.items())]
    )


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)
