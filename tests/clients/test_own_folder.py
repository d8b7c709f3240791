"""What leaves a client whose images are its own: the weights that were announced, and no name of anything.

The ClientApp is called directly on a folder whose path, classes and files hold a word that must not leave.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from canary import WORD, answer, asking, context_of, whole, write_images

from fedmetric.clients.app import app
from fedmetric.clients.limits import METRICS
from fedmetric.deployment.home import Home, settle
from fedmetric.deployment.office import found_office
from fedmetric.training.site import Site
from fedmetric.wire import request_message, unpack_update
from tiny import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / f"ward {WORD}" / "images")


@pytest.fixture
def home(tmp_path: Path, folder: Path) -> Home:
    invite = found_office(tmp_path / "deployment", "clinics", ["127.0.0.1"]).invite("north")
    return settle(tmp_path / f"home {WORD}", invite, folder)


def test_the_word_would_be_found_if_it_were_sent(folder: Path) -> None:
    request = asking()
    context = context_of({"data-path": str(folder)})
    reply = app(request_message(request, 2), context)
    reply.content.metric_records["metrics"][f"metric.{WORD}"] = 1.0
    assert WORD.encode() in whole(reply)


@pytest.mark.parametrize("kind", ["data-path", "site"])
def test_a_reply_holds_the_announced_weights_known_figures_and_no_name(kind: str, folder: Path, home: Home) -> None:
    config = {"site": str(home.folder)} if kind == "site" else {"data-path": str(folder)}
    request = asking()
    reply = answer(request, config)
    update = unpack_update(reply.content, 1, 0)
    assert list(update.arrays) == list(Site(tiny()).trainer.routes.up)
    assert {name: array.shape for name, array in update.arrays.items()} == {
        name: array.shape for name, array in request.shared.items()
    }
    assert update.extra == {}
    assert set(update.metrics) <= METRICS
    assert update.num_examples == 24
    assert set(reply.content) <= {"config", "metrics", "arrays", "extra"}
    assert dict(reply.content.config_records["config"]) == {"protocol": 4, "client": 0, "round": 1}


@pytest.mark.parametrize("objective", ["simclr", "proxy-nca", "arcface", "supcon"])
def test_what_is_sent_has_one_shape_however_many_classes_a_client_has(objective: str, tmp_path: Path) -> None:
    request = asking(tiny(f"objective={{name='{objective}'}}"))
    shapes = []
    for classes in (2, 5):
        folder = write_images(tmp_path / str(classes), classes)
        update = unpack_update(answer(request, {"data-path": str(folder)}).content, 1, 0)
        shapes.append({name: (array.shape, array.dtype) for name, array in update.arrays.items()})
        assert not [name for name in update.arrays if "prox" in name]
    assert shapes[0] == shapes[1]


def test_what_a_site_remembers_stays_in_its_folder(home: Home) -> None:
    context = context_of({"site": str(home.folder)})
    assert app(request_message(asking(), 2), context).has_content()
    assert not context.state
    assert len(list(home.memory.rglob("round-*.safetensors"))) == 1
