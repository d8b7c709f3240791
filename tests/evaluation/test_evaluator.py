from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from fedmetric.config.experiment import Evaluation
from fedmetric.data.base import Grouping, ImageSet, class_hash
from fedmetric.distances.mahalanobis import Mahalanobis
from fedmetric.errors import DataError
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.encoders import pixels
from fedmetric.evaluation.evaluator import Evaluator, score_names
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.retrieval import retrieval_scores

SETTINGS = Evaluation(episodes=20, queries=4)
ALWAYS = {
    *("recall@1", "recall@5", "recall@10", "map@r", "r_precision", "mrr"),
    *("fewshot_5w1s", "fewshot_5w5s", "fewshot_20w1s", "fewshot_20w5s"),
}
TRANSFER = {
    f"{kind}_{name}" for kind in ("knn", "prototype", "linear") for name in ("accuracy", "precision", "recall", "f1")
}


def image_set(num_classes: int = 22, size: int = 7, unlabelled: int = 0) -> ImageSet:
    """Return noisy copies of one random 6 x 6 image for each class, unlabelled ones last."""
    draw = np.random.default_rng(0)
    codes = np.repeat(np.arange(num_classes), size)
    clean = draw.integers(0, 200, (num_classes, 6, 6, 1))[codes]
    images = (clean + draw.integers(0, 56, clean.shape)).astype(np.uint8)
    labels = codes.astype(np.int64)
    labels[len(labels) - unlabelled :] = -1
    return ImageSet("noisy", images, labels, tuple(f"class{i}" for i in range(num_classes)))


def test_the_names_of_the_scores_are_the_documented_ones() -> None:
    evaluator = Evaluator(image_set(), SETTINGS, seed=1)
    assert set(evaluator(pixels, full=False)) == ALWAYS
    assert set(evaluator(pixels, full=True)) == ALWAYS | TRANSFER


def test_the_names_are_known_without_images() -> None:
    tasks = ("clustering", "identification", "transfer", "verification", "retrieval", "fewshot")
    everything = SETTINGS.model_copy(update={"tasks": tasks, "rerank": "alpha-qe"})
    for settings in (SETTINGS, everything):
        assert score_names(settings) == list(Evaluator(image_set(), settings, seed=1)(pixels, full=True))


def test_noisy_copies_are_recognised_by_every_figure() -> None:
    scores = Evaluator(image_set(), SETTINGS, seed=1)(pixels, full=True)
    assert all(score.mean is not None and score.mean > 0.95 for score in scores.values()), scores


def test_mirror_images_take_part_where_the_settings_say_so() -> None:
    left = image_set()
    images = np.concatenate([left.images, left.images[:, :, ::-1]])
    both = ImageSet("both ways", images, np.tile(left.labels, 2), left.classes)
    plain, mirror = (Evaluator(both, SETTINGS.model_copy(update={"mirror": on}), seed=1) for on in (False, True))
    rows = mirror.embed(pixels)
    assert torch.equal(rows[: len(left)], rows[len(left) :])
    assert not torch.equal(plain.embed(pixels), rows)
    assert plain(pixels, full=False)["map@r"].mean < 0.7 < mirror(pixels, full=False)["map@r"].mean


def test_each_call_embeds_each_image_once() -> None:
    seen: list[int] = []

    def embed(batch: torch.Tensor) -> torch.Tensor:
        seen.append(len(batch))
        return pixels(batch)

    Evaluator(image_set(), SETTINGS, seed=1)(embed, full=True)
    assert sum(seen) == 22 * 7


def test_images_without_a_label_are_left_out_and_counted_by_every_score() -> None:
    whole = image_set(unlabelled=9)
    evaluator = Evaluator(whole, SETTINGS, seed=1)
    scores = evaluator(pixels, full=True)
    assert evaluator.num_unlabelled == 9
    assert all(score.skipped >= 9 for score in scores.values())
    assert scores["recall@1"].n + scores["recall@1"].skipped == len(whole)
    known = torch.from_numpy(whole.images[:-9]).flatten(1).float()
    alone = retrieval_scores(Labelled(known, whole.labels[:-9]))
    assert scores["map@r"].mean == pytest.approx(alone["map@r"].mean)


@pytest.mark.parametrize("images", [image_set(0), image_set(3, 4, unlabelled=12)])
def test_nothing_to_measure_is_null_everywhere(images: ImageSet) -> None:
    scores = Evaluator(images, SETTINGS, seed=1)(pixels, full=True)
    assert set(scores) == ALWAYS | TRANSFER
    assert all(score == Score(None, None, 0, len(images)) for score in scores.values())


def test_too_few_classes_make_only_the_wide_episodes_null() -> None:
    scores = Evaluator(image_set(num_classes=6), SETTINGS, seed=1)(pixels, full=False)
    assert scores["fewshot_20w1s"].mean is None
    assert scores["fewshot_5w1s"].mean is not None


def test_a_class_that_was_trained_on_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(DataError, match="trained on 2 of the evaluated classes: class3, class5"):
        Evaluator(image_set(), SETTINGS, seed=1, trained_hashes=[class_hash(f"class{i}") for i in (3, 5, 99)])


def test_trained_classes_that_are_not_evaluated_are_no_overlap() -> None:
    images = image_set(unlabelled=7)  # the seven images of the last class
    Evaluator(images, SETTINGS, seed=1, trained_hashes=[class_hash("class21"), class_hash("elsewhere")])


@pytest.mark.parametrize(("value", "what"), [(torch.nan, "NaN"), (torch.inf, "infinite values"), (0.0, "only zeros")])
def test_an_encoder_that_diverged_is_refused_with_the_count(value: float, what: str) -> None:
    evaluator = Evaluator(image_set(), SETTINGS, seed=1)
    with pytest.raises(DataError, match=f"noisy: the embeddings: of 154 rows, 154 with {what}"):
        evaluator(lambda batch: torch.full((len(batch), 4), value), full=False)


def test_two_evaluations_of_one_encoder_are_equal() -> None:
    first, second = (Evaluator(image_set(), SETTINGS, seed=1)(pixels, full=True) for _ in range(2))
    assert first == second


def test_rows_are_measured_by_the_same_code() -> None:
    evaluator = Evaluator(image_set(), SETTINGS, seed=1)
    rows = evaluator.evaluate_rows({"trained": lambda x: 2 * pixels(x), "pixels": pixels})
    assert list(rows) == ["trained", "pixels"]
    assert {name: asdict(score) for name, score in rows["trained"].items()} == {
        name: pytest.approx(asdict(score)) for name, score in rows["pixels"].items()
    }


def test_the_distance_reaches_retrieval_and_few_shot() -> None:
    """Each image is its class's direction times a random length: perfect by cosine, poor by Euclidean distance."""
    images = image_set()
    length = torch.from_numpy(np.random.default_rng(1).uniform(0.01, 100, len(images))).float()
    embeddings = pixels(torch.from_numpy(images.images).float() + 1) * length[:, None]
    by_cosine = Evaluator(images, SETTINGS, seed=1).score(embeddings, full=False)
    by_distance = Evaluator(images, SETTINGS, 1, "euclidean").score(embeddings, full=False)
    for name in ("map@r", "fewshot_5w1s"):
        near, far = by_cosine[name].mean, by_distance[name].mean
        assert near is not None
        assert far is not None
        assert near > 0.9 > far + 0.2


def test_diagnostics_come_from_the_same_embeddings() -> None:
    evaluator = Evaluator(image_set(unlabelled=5), SETTINGS, seed=1)
    found = evaluator.diagnose(evaluator.embed(pixels))
    assert set(found) == {"std", "effective_rank", "uniformity", "alignment"}
    assert (found["std"].n, found["alignment"].n, found["alignment"].skipped) == (154, 149, 5)


def test_every_row_may_have_the_distance_it_was_trained_for() -> None:
    """A map onto the sum of all pixels leaves of the images only how bright they are."""
    evaluator = Evaluator(image_set(), SETTINGS, seed=1)
    brightness = Mahalanobis(36, rank=1)
    brightness.weight.data = torch.ones(1, 36)
    rows = evaluator.evaluate_rows({"plain": pixels, "bright": pixels}, {"bright": brightness})
    assert rows["plain"] == evaluator(pixels, full=True)
    for name in ("recall@1", "map@r", "fewshot_5w1s"):
        plain, bright = rows["plain"][name].mean, rows["bright"][name].mean
        assert plain is not None
        assert bright is not None
        assert bright < plain
    assert rows["bright"]["knn_accuracy"] == rows["plain"]["knn_accuracy"]


def test_only_the_tasks_of_the_settings_are_done_and_the_slow_ones_only_in_full() -> None:
    settings = Evaluation(tasks=("clustering", "verification"))
    evaluator = Evaluator(image_set(), settings, seed=1)
    quick, full = (set(evaluator(pixels, full=full)) for full in (False, True))
    assert all(name.startswith("verification_") for name in quick)
    assert full == quick | {"nmi", "ami", "ari", "purity"}


@pytest.mark.parametrize("method", ["alpha-qe", "k-reciprocal"])
def test_re_ranked_figures_stand_beside_the_plain_ones_in_full_only(method) -> None:
    plain, changed = Evaluation(tasks=("retrieval",)), Evaluation(tasks=("retrieval",), rerank=method)
    evaluator = Evaluator(image_set(unlabelled=9), changed, seed=1)
    scores = evaluator(pixels, full=True)
    expected = Evaluator(image_set(unlabelled=9), plain, seed=1)(pixels, full=True)
    assert {name: scores[name] for name in expected} == expected
    assert set(scores) - set(expected) == {"recall@1_reranked", "map@r_reranked"}
    assert scores["map@r_reranked"].skipped >= 9
    assert set(evaluator(pixels, full=False)) == set(expected)


def test_a_set_too_large_to_re_rank_is_refused_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedmetric.evaluation.reciprocal.MAX_IMAGES", 100)
    with pytest.raises(DataError, match="for 154 images, but it is for 100 at most"):
        Evaluator(image_set(), Evaluation(rerank="k-reciprocal"), seed=1)


def test_a_breakdown_is_by_class_or_by_a_grouping_of_the_images() -> None:
    whole = image_set(num_classes=4, size=6, unlabelled=2)
    writers = Grouping(np.arange(24, dtype=np.int64) % 2, ("odd", "even"))
    images = ImageSet(whole.name, whole.images, whole.labels, whole.classes, {"writer": writers})
    evaluator = Evaluator(images, SETTINGS, seed=1)
    embeddings = evaluator.embed(pixels)
    by_class, by_writer = (evaluator.breakdown(embeddings, by) for by in ("class", "writer"))
    assert [(part.name, part.images) for part in by_class] == [(f"class{i}", 4 if i == 3 else 6) for i in range(4)]
    assert [(part.name, part.images) for part in by_writer] == [("odd", 11), ("even", 11)]
    with pytest.raises(DataError, match="by 'writers'; did you mean 'writer'.*known: class, writer"):
        evaluator.breakdown(embeddings, "writers")
