"""A server that asks a site for too much, or for code to be run there, is told so in full and gets nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from canary import answer, asking, context_of, failure, write_images

from fedmetric.clients.app import app
from fedmetric.config import Experiment
from fedmetric.deployment.home import Home, settle
from fedmetric.deployment.office import found_office
from fedmetric.registry import rules
from fedmetric.wire import ClientFailure, external_names, request_message
from tiny import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images")


@pytest.fixture
def home(tmp_path: Path, folder: Path) -> Home:
    return settle(tmp_path / "north", found_office(tmp_path / "d", "clinics", ["127.0.0.1"]).invite("north"), folder)


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write a module that leaves a mark when it is imported."""
    mark = tmp_path / "imported"
    (tmp_path / "trap_module.py").write_text(f"open({str(mark)!r}, 'w').close()\n\nclass Method:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield mark
    sys.modules.pop("trap_module", None)


def asked_with(change: Callable[[dict[str, Any]], None], config: dict[str, Any]) -> ClientFailure:
    """Send a request whose experiment was changed after it was written, which no check at the server can prevent."""
    message = request_message(asking(), 2)
    record = message.content.config_records["config"]
    raw = json.loads(str(record["experiment"]))
    change(raw)
    record["experiment"] = json.dumps(raw)
    return failure(app(message, context_of(config)))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of an experiment."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


def put(raw: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        raw = raw[key]
    raw[path[-1]] = value


PLACES = list(places(tiny("objective={name='hybrid', parts=['simclr', {name='triplet'}]}").resolved()))


def test_the_places_of_an_experiment_are_all_tried() -> None:
    assert len(PLACES) > 80
    for path in [("objective", "parts", 0), ("objective", "parts", 1, "name"), ("federation", "rule", "name")]:
        assert path in PLACES


@pytest.mark.parametrize("name", ["os:system", "subprocess:Popen", "trap_module:Method", "a.b.c:d", "_a1:_b2"])
def test_no_place_of_an_experiment_may_name_code(name: str) -> None:
    whole = tiny("objective={name='hybrid', parts=['simclr', {name='triplet'}]}").resolved()
    assert external_names(whole) == set()
    for path in PLACES:
        for value in (name, {"name": name}, [name], [{"deep": [name]}]):
            raw = json.loads(json.dumps(whole))
            put(raw, path, value)
            assert external_names(raw) == {name}


@pytest.mark.parametrize(
    "path",
    [
        ("objective",),
        ("objective", "name"),
        ("federation", "rule", "name"),
        ("model", "name"),
        ("views", "name"),
        ("data", "name"),
        ("partition", "name"),
        ("local", "sampler", "name"),
        ("name",),
        ("unknown",),
    ],
)
@pytest.mark.parametrize("kind", ["data-path", "site"])
def test_code_that_is_named_is_not_even_imported(
    kind: str, path: tuple[str, ...], folder: Path, home: Home, trap: Path
) -> None:
    config = {"site": str(home.folder)} if kind == "site" else {"data-path": str(folder)}
    told = asked_with(lambda raw: put(raw, path, "trap_module:Method"), config)
    assert told.stage == "request"
    assert told.error == (
        "ProtocolError: methods outside fedmetric are named that are not allowed here: ['trap_module:Method']"
    )
    assert not trap.exists()
    assert "trap_module" not in sys.modules


def test_code_that_the_site_allows_is_imported_and_no_other(home: Home, trap: Path) -> None:
    settings = home.folder / "site.toml"
    settings.write_text(settings.read_text() + 'external = ["trap_module:Method"]\n')

    def both(raw: dict[str, Any]) -> None:
        raw["objective"] = {"name": "trap_module:Method"}
        raw["views"] = {"name": "os:system"}

    told = asked_with(both, {"site": str(home.folder)})
    assert told.error.endswith("not allowed here: ['os:system']")
    assert not trap.exists()
    asked_with(lambda raw: put(raw, ("objective",), {"name": "trap_module:Method"}), {"site": str(home.folder)})
    assert trap.exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("local.epochs=1000000000",), "local.epochs = 1000000000 is asked, this site allows 50"),
        (("federation.rounds=1000000",), "federation.rounds = 1000000 is asked, this site allows 10000"),
        (("image_size=512",), "image_size = 512 is asked, this site allows 256"),
        (("local.batch_size=100000",), "local.batch_size = 100000 is asked, this site allows 1024"),
    ],
)
def test_what_is_too_much_is_refused_in_full(overrides: tuple[str, ...], message: str, folder: Path) -> None:
    told = asked_with(lambda raw: raw.update(tiny(*overrides).resolved()), {"data-path": str(folder)})
    assert (told.stage, told.error) == ("data", f"LimitError: {message}")


def refused(experiment: Experiment, config: dict[str, Any]) -> ClientFailure:
    return failure(answer(asking(experiment), config))


@pytest.mark.parametrize(
    ("overrides", "rule"),
    [
        (("federation.rule=scaffold",), "scaffold"),
        (("federation.rule=fedaws", "objective={name='proxy-nca'}"), "fedaws"),
        (("federation.rule=shared-proxies", "objective={name='proxy-nca'}"), "shared-proxies"),
    ],
)
def test_a_rule_that_sends_more_than_weights_is_refused_in_full(
    overrides: tuple[str, ...], rule: str, folder: Path
) -> None:
    told = refused(tiny(*overrides), {"data-path": str(folder)})
    assert told.stage == "data", "it was refused after training"
    assert told.error == (
        f"LimitError: rule '{rule}' sends {rules[rule].traits['shares']}; more than weights may leave this site under "
        "the rules [] only"
    )


def test_a_rule_that_the_site_allows_may_send_more(home: Home) -> None:
    settings = home.folder / "site.toml"
    settings.write_text(settings.read_text() + 'rules = ["scaffold"]\n')
    reply = answer(asking(tiny("federation.rule=scaffold")), {"site": str(home.folder)})
    assert reply.content.array_records["extra"]
    (line,) = (home.folder / "manifest.jsonl").read_text().splitlines()
    noted = json.loads(line)
    sent = {*reply.content.array_records["arrays"], *reply.content.array_records["extra"]}
    assert noted["round"] == 1
    assert {row["name"] for row in noted["rows"] if row["kind"] != "metric"} == sent


def test_parts_of_the_network_that_are_private_are_refused_in_full(folder: Path) -> None:
    told = refused(tiny("objective.name=byol", "federation.target=aggregate"), {"data-path": str(folder)})
    assert told.error.startswith("LimitError: the parts ['target'] would leave this site, which allows ['backbone'")


def test_a_network_that_is_too_large_is_refused_in_full(home: Home) -> None:
    settings = home.folder / "site.toml"
    settings.write_text(settings.read_text() + "parameters = 1000\n")
    told = refused(tiny(), {"site": str(home.folder)})
    assert told.stage == "data"
    assert "parameters, this site allows 1,000" in told.error


def test_nothing_is_remembered_of_what_was_refused(home: Home) -> None:
    for experiment in (tiny("image_size=512"), tiny("objective.name=byol", "federation.target=aggregate")):
        refused(experiment, {"site": str(home.folder)})
    assert not home.memory.exists()
