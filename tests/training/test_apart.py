"""A client with a folder of its own and a server without training images: neither sees what the other has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import draw_classes
from PIL import Image

from fedmetric.arrays import sha256_of
from fedmetric.config import Experiment, parse_experiment
from fedmetric.data.base import class_hash
from fedmetric.errors import ConfigError, DataError
from fedmetric.federation.memory import ClientState
from fedmetric.training.apart import EvaluationOnly, OwnFolder
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site

Small = Callable[..., Experiment]
NAMES = ("ant", "bee", "cat", "dog", "eel")


def write(path: Path, value: int, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (16, 16), value).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write 5 classes of 2 grey images; the grey value tells them apart: 10, 11, 20, 21, ..."""
    for number, name in enumerate(NAMES, 1):
        for image in range(2):
            write(tmp_path / "images" / name / f"{image}.png", 10 * number + image)
    return tmp_path / "images"


def own(experiment: Experiment, folder: Path, channels: int = 1, *evaluated: str) -> OwnFolder:
    return OwnFolder(experiment, folder, 7, channels, frozenset(map(class_hash, evaluated)))


def greys(images: np.ndarray) -> list[int]:
    found: list[int] = sorted(images[:, 0, 0, 0].tolist())
    return found


EVERY = sorted(10 * number + image for number in range(1, 6) for image in range(2))


@pytest.mark.parametrize("client", [0, 3, 6])
def test_all_images_of_the_folder_are_the_clients_whatever_its_number(client: int, small: Small, folder: Path) -> None:
    site = own(small("data=folder"), folder)
    images = site.images_of(client)
    assert site.num_clients == 7
    assert greys(images.images) == EVERY
    assert images.present_classes() == NAMES
    assert len(site.dataset.held_out) == 0


@pytest.mark.parametrize("client", [-1, 7])
def test_a_client_that_the_federation_does_not_have_is_refused(client: int, small: Small, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"client {client} asked for, but the partition has 7 clients"):
        own(small("data=folder"), folder).images_of(client)


def test_classes_that_the_server_evaluates_are_refused_by_name(small: Small, folder: Path) -> None:
    message = r"2 classes are evaluated by the server and must not be trained on: bee, dog; take them out of the folder"
    with pytest.raises(DataError, match=message):
        own(small("data=folder"), folder, 1, "dog", "bee", "fox").images_of(0)
    assert len(own(small("data=folder"), folder, 1, "fox").images_of(0)) == 10


def test_of_many_such_classes_five_are_named(small: Small, folder: Path) -> None:
    write(folder / "fly" / "0.png", 60)
    with pytest.raises(DataError, match="6 classes are evaluated by .*: ant, bee, cat, dog, eel, ...; take"):
        own(small("data=folder"), folder, 1, *NAMES, "fly").images_of(0)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("L", 3), ("RGB", 1), ("RGB", 3)])
def test_images_have_the_channels_that_the_server_asks_for(
    mode: str, channels: int, small: Small, folder: Path
) -> None:
    write(folder / "ant" / "0.png", 10, mode)
    site = own(small("data=folder"), folder, channels)
    assert site.images_of(0).images.shape == (10, 16, 16, channels)
    assert site.trainer.embedder.shared()["backbone.block1.conv.weight"].shape[1] == channels


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_numbers_of_channels_are_refused(channels: int, small: Small, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"the server asks for images of {channels} channels; 1 and 3 are possible"):
        own(small("data=folder"), folder, channels)


@pytest.mark.parametrize("data", [("data=folder", "data.invert=true"), ("data=omniglot",)])
def test_ink_is_made_white_where_the_experiments_own_source_does_so(
    data: tuple[str, ...], small: Small, folder: Path
) -> None:
    assert greys(own(small(*data), folder).images_of(0).images) == sorted(255 - grey for grey in EVERY)


@pytest.mark.parametrize(
    "asked",
    [
        ('data.path="/"',),
        ('data.path=".."',),
        ('data.held_out=["ant"]',),
        ("data.held_out_share=0.9",),
        ('data.layout="unlabelled"',),
        ('data.layout="manifest"',),
        ('data.manifest="list.csv"',),
        ('data.manifest="/etc/passwd"',),
        ('data.manifest="../secret.csv"',),
    ],
)
def test_the_servers_own_folder_and_how_it_is_read_have_no_influence(
    asked: tuple[str, ...], small: Small, folder: Path
) -> None:
    for place in (folder / "list.csv", folder.parent / "secret.csv"):
        place.write_text("path,label\nant/0.png,chosen\n")
    images = own(small("data=folder", *asked), folder).images_of(0)
    assert greys(images.images) == EVERY
    assert images.present_classes() == NAMES


def test_a_sites_own_manifest_is_read(small: Small, folder: Path) -> None:
    (folder / "manifest.csv").write_text("path,label\nant/0.png,chosen\nbee/0.png,chosen\n")
    images = own(small("data=folder"), folder).images_of(0)
    assert (greys(images.images), images.present_classes()) == ([10, 20], ("chosen",))


def test_the_partition_of_the_experiment_has_no_influence(small: Small, folder: Path) -> None:
    site = own(small("data=digits", "partition=iid", "partition.clients=3"), folder)
    assert greys(site.images_of(5).images) == EVERY


def server(experiment: Experiment) -> EvaluationOnly:
    return EvaluationOnly(experiment, 7)


def test_the_server_evaluates_every_class_of_a_folder_and_trains_on_none(small: Small, folder: Path) -> None:
    site = server(small("data=folder", f'data.path="{folder}"', "data.held_out_share=0.2"))
    assert greys(site.evaluation_images.images) == EVERY
    assert site.evaluation_images.present_classes() == NAMES
    for images in (site.training_images, site.public_images):
        assert (len(images), images.present_classes()) == (0, ())
    assert (site.num_clients, site.parts) == (7, [])
    site.check_clients()
    assert site.trainer.embedder.shared()["backbone.block1.conv.weight"].shape == (4, 1, 3, 3)


def test_a_manifest_at_the_server_may_say_which_classes_are_evaluated(small: Small, folder: Path) -> None:
    (folder / "manifest.csv").write_text("path,label,split\nant/0.png,ant,train\nbee/0.png,bee,held-out\n")
    site = server(small("data=folder", f'data.path="{folder}"'))
    assert site.evaluation_images.present_classes() == ("bee",)
    assert len(site.training_images) == 0


def test_of_other_data_sets_the_server_evaluates_what_they_hold_out(small: Small) -> None:
    site = server(small("data=digits"))
    assert len(site.evaluation_images) == len(site.dataset.held_out) > 0
    assert len(site.training_images) == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("validation_classes=0.25", "validation_classes = 0.25 takes from the training images"),
        ("validation_folds=3", "validation_folds = 3 takes from the training images"),
        (
            "public_classes=0.5",
            "public_classes = 0.5 takes from the training images, and those lie at the clients; set it to 0",
        ),
    ],
)
def test_what_takes_classes_from_the_training_images_is_refused_at_both_ends(
    override: str, message: str, small: Small, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        own(small("data=folder", override), folder)
    with pytest.raises(ConfigError, match=message):
        server(small("data=folder", override))


@pytest.mark.parametrize(
    "overrides",
    [
        ("objective.name=simclr",),
        ("objective.name=supcon", "local.sampler=balanced"),
        ("objective.name=arcface", "local.sampler=inverse-frequency", "local.proxy_init=mean"),
        ("objective={name='triplet'}", "local.sampler=balanced"),
    ],
)
def test_a_folder_of_its_own_trains_to_the_bits_of_the_same_part_of_a_whole(
    overrides: tuple[str, ...], tmp_path: Path
) -> None:
    """Labels are numbered by the folder here and over all clients there; no update may depend on that."""
    for client, names in {"a": ["p", "q", "z"], "b": ["c", "y", "d"], "x": ["held"]}.items():
        draw_classes(tmp_path / client, names)
    data = f'data={{name="folder", path="{tmp_path}", layout="client-class", held_out=["held"], colour="grey"}}'
    common = ("image_size=16", "model.width=8", "local.batch_size=12", 'partition.name="natural"')
    experiment = parse_experiment("", overrides=[data, *common, *overrides])
    whole = Site(experiment)
    shared = whole.beginning()
    for client, name in enumerate("ab"):
        own = OwnFolder(experiment, tmp_path / name, 2, 1, frozenset())
        found = []
        for site in (whole, own):
            trainer = site.trainer_of(client)
            images = site.images_of(client)
            found.append(local_update(trainer, images, shared, {}, ClientState(client), 1))
        assert sha256_of(found[0].arrays) == sha256_of(found[1].arrays)
        assert found[0].num_examples == found[1].num_examples
