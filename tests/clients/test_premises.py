"""Where a client's images come from is decided by its node's configuration alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmetric.clients.limits import LimitError, Limits
from fedmetric.clients.premises import Premises, premises_of
from fedmetric.deployment.home import Home, settle
from fedmetric.deployment.office import found_office
from fedmetric.errors import UsageError
from fedmetric.training.apart import OwnFolder
from fedmetric.wire import Request, Setting
from tiny import tiny

REQUEST = Request(tiny(), 1, 2, {}, {}, setting=Setting(3, 1, ()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("ant", "bee")):
        for image in range(3):
            place = tmp_path / "images" / name / f"{image}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 16), 10 * number + image).save(place)
    return tmp_path / "images"


@pytest.fixture
def home(tmp_path: Path, folder: Path) -> Home:
    return settle(tmp_path / "north", found_office(tmp_path / "d", "clinics", ["127.0.0.1"]).invite("north"), folder)


def test_a_node_that_says_nothing_holds_the_whole_data_set_without_limits() -> None:
    premises = premises_of({"partition-id": 1})
    assert premises == Premises(None, None, None)
    assert premises.external is None
    site = premises.site(REQUEST)
    assert not isinstance(site, OwnFolder)
    assert site.num_clients == 3
    assert premises.site(REQUEST) is site


def test_a_node_with_a_folder_for_its_memory_alone_still_holds_the_whole_data_set(tmp_path: Path) -> None:
    assert premises_of({"state-dir": str(tmp_path)}) == Premises(None, tmp_path, None)


def test_a_node_with_a_folder_of_images_has_the_default_limits(folder: Path, tmp_path: Path) -> None:
    assert premises_of({"data-path": str(folder)}) == Premises(folder, None, Limits())
    premises = premises_of({"data-path": str(folder), "state-dir": str(tmp_path)})
    assert premises == Premises(folder, tmp_path, Limits())
    assert premises.external == ()


def test_a_site_has_its_own_images_memory_and_limits(home: Home, folder: Path) -> None:
    replace(home, limits={"epochs": 3, "external": ["mine:Rule"]}).write()
    premises = premises_of({"site": str(home.folder), "data-path": "/elsewhere", "state-dir": "/elsewhere"})
    assert premises == Premises(
        folder, home.folder / "memory", Limits(epochs=3, external=("mine:Rule",)), home.manifest, home.key
    )
    assert premises.external == ("mine:Rule",)


def test_a_site_with_limits_that_cannot_be_read_serves_nobody(home: Home) -> None:
    replace(home, limits={"epoch": 3}).write()
    with pytest.raises(UsageError, match=r"limits\.epoch is unknown; did you mean 'epochs'"):
        premises_of({"site": str(home.folder)})


def test_a_site_that_is_gone_serves_nobody(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no site"):
        premises_of({"site": str(tmp_path)})


def test_the_images_are_those_of_the_folder_whatever_the_experiment_names(folder: Path) -> None:
    premises = premises_of({"data-path": str(folder)})
    asked = tiny("data=folder", 'data.path="/"', "partition=natural")
    site = premises.site(replace(REQUEST, experiment=asked))
    assert site.images_of(2).images[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert site.num_clients == 3


def test_a_site_is_built_once_for_an_experiment_and_a_setting(folder: Path) -> None:
    premises = premises_of({"data-path": str(folder)})
    site = premises.site(REQUEST)
    assert premises.site(replace(REQUEST, round=2, client=0, shared={"w": np.zeros(1)})) is site
    assert premises.site(replace(REQUEST, setting=Setting(4, 1, ()))) is not site
    assert premises.site(REQUEST) is not site  # one at a time


def test_limits_are_checked_before_the_folder_is_looked_at_and_again_when_the_site_is_known(folder: Path) -> None:
    nowhere = Premises(Path("/no/such/folder"), None, Limits(epochs=1))
    with pytest.raises(LimitError, match=r"local\.epochs = 2 is asked, this site allows 1"):
        nowhere.site(replace(REQUEST, experiment=tiny("local.epochs=2")))
    Premises(folder, None, Limits()).site(REQUEST)
    with pytest.raises(LimitError, match=r"the parts \['projector'\] would leave this site"):
        Premises(folder, None, Limits(groups=("backbone",))).site(REQUEST)
