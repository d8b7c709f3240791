"""Optuna's tree-structured Parzen estimator and median pruning, over trials that the run folders hold.

Bergstra, Bardenet, Bengio, Kégl, Algorithms for Hyper-Parameter Optimization, NeurIPS 2011 (the estimator); Golovin et
al., Google Vizier, KDD 2017, section 3.2.2 (the median rule).

There is no data base: the study is made anew from the trials before each draw.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from fedmetric.seeds import derive_seed
from fedmetric.simulations.search import Dimension, Drawn, Search, Trial


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Translate a dimension; values that are no plain scalars are told apart by their JSON."""
    if dimension.values:
        return CategoricalDistribution([json.dumps(value) for value in dimension.values])
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


class OptunaSampler:
    """The estimator, told of every trial before; unfinished ones are stopped below the median of the others."""

    def __init__(self, search: Search, space: Mapping[str, Dimension]) -> None:
        optuna.logging.set_verbosity(logging.WARNING)
        self._search, self._space = search, space
        self._distributions = {key: distribution_of(dimension) for key, dimension in space.items()}

    def _study(self, number: int, before: Sequence[Trial]) -> optuna.Study:
        sampler = optuna.samplers.TPESampler(seed=derive_seed(self._search.seed, "search", step=number) % 2**32)
        kinds = optuna.study.StudyDirection
        direction = kinds.MINIMIZE if self._search.smaller_is_better else kinds.MAXIMIZE
        pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
        study = optuna.create_study(sampler=sampler, direction=direction, pruner=pruner)
        study.add_trials([self._frozen(trial) for trial in before if trial.value is not None or trial.stopped])
        return study

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return create_trial(
            state=TrialState.PRUNED if trial.stopped else TrialState.COMPLETE,
            value=None if trial.stopped else trial.value,
            params={key: self._told(key, value) for key, value in trial.drawn.items()},
            distributions=self._distributions,
            intermediate_values=dict(trial.by_round),
        )

    def _told(self, key: str, value: Any) -> Any:
        return json.dumps(value) if self._space[key].values else value

    def draw(self, number: int, before: Sequence[Trial]) -> Drawn:
        """Ask the estimator; see `Sampler`."""
        asked = self._study(number, before).ask(self._distributions)
        return {key: json.loads(value) if self._space[key].values else value for key, value in asked.params.items()}

    def hopeless(self, by_round: Mapping[int, float], before: Sequence[Trial]) -> bool:
        """Apply the median rule to the last evaluated round; see `Sampler`."""
        if not self._search.prune or not by_round:
            return False
        trial = self._study(0, before).ask()
        for round, value in sorted(by_round.items()):
            trial.report(value, round)
        return bool(trial.should_prune())
