"""A rehearsal lists what an update really holds, and nothing leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from canary import WORD, answer, asking, write_images

from fedmetric.clients.dry_run import dry_run
from fedmetric.clients.limits import LimitError
from fedmetric.data.base import class_hash
from fedmetric.deployment.home import Home, settle
from fedmetric.deployment.office import found_office
from fedmetric.errors import DataError
from tiny import tiny

SETTING = {"clients": 3, "channels": 1, "evaluated": []}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    office = found_office(tmp_path / "d", "clinics", ["127.0.0.1"])
    return settle(tmp_path / "north", office.invite("north"), write_images(tmp_path / "images"))


def test_what_is_listed_is_what_a_round_sends(home: Home) -> None:
    found = dry_run(home, tiny(), SETTING)
    sent = answer(asking(tiny()), {"site": str(home.folder)}).content
    arrays = sent.array_records["arrays"]
    tensors = {row["name"]: row for row in found.rows if row["kind"] == "weights"}
    assert tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (tensors[name]["shape"], tensors[name]["bytes"]) == (list(array.shape), array.numpy().nbytes)
    figures = {row["name"] for row in found.rows if row["kind"] == "metric"}
    assert figures == {key.removeprefix("metric.") for key in sent.metric_records["metrics"]}
    assert found.bytes_up == sum(row["bytes"] for row in found.rows)


def test_nothing_is_kept_and_no_class_is_named(home: Home) -> None:
    found = dry_run(home, tiny(), SETTING)
    assert not home.memory.exists()
    assert not home.manifest.exists()
    assert WORD not in str(found.rows)
    assert found.images > 0


def test_an_experiment_beyond_the_limits_is_refused(home: Home) -> None:
    with pytest.raises(LimitError, match="local.epochs = 51 is asked, this site allows 50"):
        dry_run(home, tiny("local.epochs=51"), SETTING)


def test_classes_that_the_server_evaluates_are_named_here(home: Home) -> None:
    name = sorted(path.name for path in home.data.iterdir())[0]
    with pytest.raises(DataError, match="1 classes are evaluated by the server"):
        dry_run(home, tiny(), SETTING | {"evaluated": [class_hash(name)]})
