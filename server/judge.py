"""The central evaluator of a run: the trained network beside the pixels and the untrained network, by the same code."""

from __future__ import annotations

from functools import cached_property

from fedmetric.arrays import Arrays
from fedmetric.config import Experiment
from fedmetric.data.base import class_hash
from fedmetric.evaluation.base import Scores
from fedmetric.evaluation.encoders import pixels
from fedmetric.evaluation.evaluator import Evaluator
from fedmetric.models.embedder import Embedder, build_embedder
from fedmetric.training.site import Site, compute_device


class Judge:
    """Measure weights on the classes of an experiment that nobody trains on."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.class_hashes = tuple(class_hash(name) for name in site.training_images.present_classes())
        experiment = site.experiment
        self._evaluator = Evaluator(
            site.evaluation_images,
            experiment.evaluation,
            experiment.seed,
            trained_hashes=self.class_hashes,
            device=compute_device(),
        )
        self._embedder = self._new(experiment)

    def _new(self, experiment: Experiment) -> Embedder:
        return build_embedder(experiment, self.site.dataset.train.channels).to(compute_device())

    def measure(self, shared: Arrays, transfer: bool) -> tuple[Scores, Scores]:
        """Measure weights: scores of `Evaluator.score`, and diagnostics of the embedding space.

        Args:
            shared: the weights.
            transfer: whether to fit the classifiers too, which takes longer.
        """
        self._embedder.load_shared(shared)
        embeddings = self._evaluator.embed(self._embedder.embed)
        return self._evaluator.score(embeddings, transfer=transfer), self._evaluator.diagnose(embeddings)

    @cached_property
    def baselines(self) -> dict[str, Scores]:
        """The rows "pixels" and "random", measured once."""
        untrained = self._new(self.site.experiment)
        return dict(self._evaluator.evaluate_rows({"pixels": pixels, "random": untrained.embed}))
