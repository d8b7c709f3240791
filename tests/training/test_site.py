"""What a place with images builds from an experiment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedmetric.config import Experiment, parse_experiment
from fedmetric.data.base import Dataset, ImageSet
from fedmetric.errors import ConfigError
from fedmetric.federation.fedprox import FedProx
from fedmetric.training.allocator import keep_freed_memory
from fedmetric.training.site import Site, compute_device
from fedmetric.views.batch import NaturalViews

Small = Callable[..., Experiment]
IID = ("partition=iid", "partition.clients=4")


def site_of(experiment: Experiment) -> Site:
    """Return a site with 12 classes of 4 grey images to train on and 3 others held out."""
    site = Site(experiment)
    labels = np.arange(48, dtype=np.int64) % 12
    names = tuple(f"class {i}" for i in range(15))
    train = ImageSet("hand-made", np.zeros((48, 16, 16, 1), np.uint8), labels, names)
    held_out = ImageSet(
        "hand-made", np.zeros((6, 16, 16, 1), np.uint8), np.arange(12, 18, dtype=np.int64) % 3 + 12, names
    )
    site.__dict__["dataset"] = Dataset(train, held_out)
    return site


def test_every_client_gets_its_own_images(small: Small) -> None:
    site = site_of(small(*IID))
    assert site.num_clients == 4
    assert sum(len(site.images_of(client)) for client in range(4)) == 48
    assert np.array_equal(site.images_of(2).labels, site.training_images.labels[site.parts[2]])


def test_heads_for_a_clients_own_classes_see_them_numbered_from_0(small: Small) -> None:
    site = site_of(
        small("objective=proxy-nca", "partition=classes-per-client", "partition.clients=4", "partition.classes=5")
    )
    for client, part in enumerate(site.parts):
        images, labels = site.images_of(client), site.training_images.labels[part]
        assert [images.classes[label] for label in images.labels] == [f"class {label}" for label in labels]
        assert set(images.labels.tolist()) == set(range(len(images.classes)))
        assert len(images.classes) < 12
        objective = site.trainer_of(client).embedder.objective
        assert objective.rows().shape[0] == len(images.classes)
    assert site.trainer.embedder.objective.rows().shape[0] == 1


def test_turned_images_have_heads_of_their_own(small: Small) -> None:
    site = site_of(small("objective=proxy-nca", *IID, "views.quarter_turns=true"))
    classes = len(site.images_of(0).classes)
    assert site.trainer_of(0).embedder.objective.rows().shape[0] == 4 * classes


def test_few_networks_are_kept_and_one_that_was_dropped_is_built_again_alike(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedmetric.training.site.MAX_TRAINERS", 1)
    site = site_of(small("objective=proxy-nca", "partition=dirichlet", "partition.clients=4", "partition.alpha=0.3"))
    counts = [len(site.images_of(client).classes) for client in range(4)]
    other = next(client for client in range(4) if counts[client] not in (counts[0], 1))
    first = site.trainer_of(0).embedder.arrays(site.trainer.routes.up)
    site.trainer_of(other)
    assert all(
        np.array_equal(array, first[name]) for name, array in site.trainer_of(0).embedder.arrays(list(first)).items()
    )


def test_some_clients_can_be_without_labels(small: Small) -> None:
    text = 'objective = { name = "hybrid", parts = ["simclr", "proxy-nca"] }\nimage_size = 16\nlabelled_clients = 0.5'
    half = site_of(parse_experiment(text, "half", IID))
    labelled = [bool((half.images_of(client).labels >= 0).any()) for client in range(4)]
    assert sorted(labelled) == [False, False, True, True]
    with pytest.raises(ConfigError, match=r"labelled_clients = 0.1 of 4 clients is none; raise it, or set it to 0"):
        site_of(parse_experiment(text, "half", [*IID, "labelled_clients=0.1"])).images_of(0)


@pytest.mark.parametrize(
    "objective",
    [
        '"proxy-nca"',
        '{ name = "hybrid", parts = ["supcon", "triplet"] }',
        '{ name = "hybrid", parts = ["simclr", "supcon"], weights = [0, 1] }',
        '{ name = "hybrid", parts = ["simclr", "supcon"], stages = [{ rounds = 1, weights = [1, 0] }, '
        "{ rounds = 1, weights = [0, 1] }] }",
    ],
)
def test_clients_without_labels_must_have_something_to_learn_in_every_round(objective: str) -> None:
    with pytest.raises(ConfigError, match="learns from labels only, in some rounds at least"):
        parse_experiment(f"objective = {objective}\nlabelled_clients = 0.5")


@pytest.mark.parametrize(
    ("objective", "classes", "fewest"), [("triplet", 1, 2), ("quadruplet", 2, 3), ("arcface", 1, 2)]
)
def test_clients_with_too_few_classes_to_tell_apart_are_refused_before_training(
    objective: str, classes: int, fewest: int
) -> None:
    many = {1: 12, 2: 6}[classes]
    partition = f'partition={{name="classes-per-client", clients={many}, classes={classes}}}'
    text = "image_size = 16\nmodel = { width = 4 }\nlocal = { batch_size = 4 }"
    site = site_of(parse_experiment(text, "few", [partition, f'objective={{name="{objective}"}}']))
    with pytest.raises(ConfigError, match=f"client 0 has {classes} classes, and the objective needs at least {fewest}"):
        site.check_clients()


@pytest.mark.parametrize("client", [-1, 4, 99])
def test_a_client_that_is_not_there_is_refused(client: int, small: Small) -> None:
    with pytest.raises(ConfigError, match=f"client {client} asked for, but the partition has 4 clients"):
        site_of(small(*IID)).images_of(client)


def test_evaluation_is_on_the_held_out_classes_or_on_those_kept_from_training(small: Small) -> None:
    held_out = site_of(small(*IID))
    validation = site_of(small(*IID, "validation_classes=0.25", "evaluation.on=validation"))
    assert held_out.evaluation_images.present_classes() == ("class 12", "class 13", "class 14")
    assert len(held_out.training_images) == 48
    kept = set(validation.evaluation_images.present_classes())
    assert len(kept) == 3
    assert not kept & set(validation.training_images.present_classes())


def test_the_trainer_is_built_from_the_experiment_once(small: Small) -> None:
    experiment = small(*IID, "views=natural", "federation.rule=fedprox", "federation.rule.mu=0.5")
    site = site_of(experiment)
    trainer = site.trainer
    assert trainer is site.trainer
    assert trainer.experiment is experiment
    assert isinstance(trainer.views, NaturalViews)
    assert isinstance(trainer.rule, FedProx)
    assert trainer.rule.mu == 0.5
    assert trainer.embedder.shared()["backbone.block1.conv.weight"].shape == (4, 1, 3, 3)
    assert trainer.device == compute_device()


def client_of(small: Small, count: int, *overrides: str) -> Site:
    """Return a site whose only client holds this many images."""
    site = Site(small("data=digits", "image_size=16", "partition.name=iid", "partition.clients=1", *overrides))
    site.__dict__["parts"] = [np.arange(count, dtype=np.int64)]
    return site


def test_a_client_with_too_few_images_for_batch_statistics_is_refused_before_training(small: Small) -> None:
    message = "client 0 has batches of 1, too few for the statistics of BatchNorm; .* federation.norm to 'group_norm'"
    with pytest.raises(ConfigError, match=message):
        client_of(small, 1, "objective.name=moco", "objective.queue_size=1").check_clients()
    client_of(small, 2).check_clients()


def test_a_client_with_too_few_images_for_the_objective_is_refused_before_training(small: Small) -> None:
    with pytest.raises(ConfigError, match="client 0 has batches of 1, the objective needs at least 2"):
        client_of(small, 1, "federation.norm=group_norm").check_clients()
    client_of(small, 1, "objective.name=moco", "objective.queue_size=1", "federation.norm=group_norm").check_clients()


def test_a_queue_longer_than_the_smallest_client_is_refused_before_training(small: Small) -> None:
    with pytest.raises(
        ConfigError, match=r"objective.queue_size=256 but client 0 holds 100 images; lower .* to at most"
    ):
        client_of(small, 100, "objective.name=moco").check_clients()


def test_the_data_set_comes_from_the_cache_at_the_size_of_the_experiment(small: Small) -> None:
    site = Site(small("data=digits", "image_size=16", *IID))
    assert site.dataset.train.images.shape[1:] == (16, 16, 1)
    assert site.dataset is site.dataset


def test_the_allocator_answers_whether_the_c_library_understood() -> None:
    assert isinstance(keep_freed_memory(), bool)


def test_without_a_c_library_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedmetric.training.allocator.ctypes.CDLL", lambda name: object())
    assert keep_freed_memory() is False
