"""Registries that read names and options from source text; importing a method must not tell another story."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from fedmetric.errors import ConfigError
from fedmetric.registry import REGISTRIES, Entry, ExternalComponent, Registry, backbones, nearest, objectives, rules

ENTRIES = [entry for registry in REGISTRIES for entry in registry.values()]
IDS = [f"{entry.kind}-{entry.name}" for entry in ENTRIES]

TWO = '''
from things_base import things

@things.register("first-thing")
class First:
    """Do the first.

    Args:
        size: never read, because the class has its own docstring for it below.
    """

    def __init__(self, context: int, *, size: Count = 3, weight: float, mode: Literal["a", "b"] = "a") -> None:
        """Set.

        Args:
            context: handed in.
            size: how many,
                in all.
            weight: how much.
            mode: which.
        """
        self.given = (context, size, weight, mode)

@things.register("second")
def second():
    """Do the second."""
    return "second"

@other
def plain(): ...
'''


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Registry:
    """Return a registry over a package written on the spot, with a name of its own for every test."""
    package = f"things_{abs(hash(request.node.nodeid))}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "two.py").write_text(TWO)
    (tmp_path / package / "none.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return Registry("thing", package)


@pytest.mark.parametrize("entry", ENTRIES, ids=IDS)
def test_what_is_read_from_the_source_is_what_python_sees(entry: Entry) -> None:
    loaded = entry.load()
    options = [p for p in inspect.signature(loaded).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    assert [parameter.name for parameter in entry.parameters] == [option.name for option in options]
    for parameter, option in zip(entry.parameters, options, strict=True):
        given = inspect.Parameter.empty if parameter.default is None else ast.literal_eval(parameter.default)
        assert given == option.default
        assert parameter.annotation.replace('"', "'") == str(option.annotation).replace('"', "'")


@pytest.mark.parametrize("entry", ENTRIES, ids=IDS)
def test_the_options_of_every_entry_build_with_their_defaults(entry: Entry) -> None:
    required = [parameter for parameter in entry.parameters if parameter.default is None]
    assert required == []
    options = entry.options()
    assert options.model_dump()["name"] == entry.name
    assert set(options.model_dump()) == {"name", *(parameter.name for parameter in entry.parameters)}


@pytest.mark.parametrize("entry", ENTRIES, ids=IDS)
def test_the_options_of_every_entry_survive_validation(entry: Entry) -> None:
    """Defaults are not validated when a model is built, so that a default out of its own range would pass."""
    assert entry.options.model_validate(entry.options().model_dump()) == entry.options()


@pytest.mark.parametrize("entry", ENTRIES, ids=IDS)
def test_every_entry_has_a_summary_and_describes_its_options(entry: Entry) -> None:
    assert entry.summary.endswith(".")
    assert [parameter.name for parameter in entry.parameters if not parameter.description] == []


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_names_are_sorted_and_unknown_ones_refused_with_all_known(registry: Registry) -> None:
    assert list(registry) == sorted(registry)
    assert len(registry) == len(list(registry)) > 0
    assert "no-such-name" not in registry
    with pytest.raises(ConfigError) as caught:
        registry["no-such-name"]
    assert f"unknown {registry.kind} 'no-such-name'" in str(caught.value)
    assert f"known: {', '.join(registry)}, or module:name" in str(caught.value)


def test_the_nearest_name_is_proposed() -> None:
    with pytest.raises(ConfigError, match=r"unknown objective 'simclrr'; did you mean 'simclr'\?; known: "):
        objectives["simclrr"]
    assert nearest("xyz", ["simclr"]) == ""


def test_names_and_options_are_known_without_importing_a_method() -> None:
    code = (
        "import sys; from fedmetric.registry import REGISTRIES;"
        "built = [r[n].options() for r in REGISTRIES for n in r]; assert len(built) > 10;"
        "loaded = {r[n].module for r in REGISTRIES for n in r} & set(sys.modules);"
        "print(sorted(loaded), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False False"


def test_a_package_is_read_and_not_run(things: Registry) -> None:
    assert list(things) == ["first-thing", "second"]
    first = things["first-thing"]
    assert (first.kind, first.attribute, first.summary) == ("thing", "First", "Do the first.")
    assert [(p.name, p.annotation, p.default, p.description) for p in first.parameters] == [
        ("size", "Count", "3", "how many, in all."),
        ("weight", "float", None, "how much."),
        ("mode", "Literal['a', 'b']", "'a'", "which."),
    ]
    assert things["second"].parameters == ()
    assert first.module not in sys.modules


def test_options_are_checked_by_the_types_of_the_signature(things: Registry) -> None:
    options = things["first-thing"].options
    assert options(weight=2).model_dump() == {"name": "first-thing", "size": 3, "weight": 2.0, "mode": "a"}
    for wrong in ({}, {"weight": 1, "size": 0}, {"weight": 1, "mode": "c"}, {"weight": 1, "extra": 1}):
        with pytest.raises(ValueError, match="validation error"):
            options(**wrong)


def test_a_name_registered_twice_is_refused(things: Registry, tmp_path: Path) -> None:
    (tmp_path / things.package / "zwei.py").write_text('@things.register("second")\ndef again(): ...\n')
    with pytest.raises(ValueError, match=r"thing 'second' is registered twice, again in zwei\.py"):
        list(things)


@pytest.mark.parametrize("name", ["", "Upper", "under_score", "-dash", "sp ace", "a:b"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters, digits and '-'"):
        objectives.register(name)


def test_registering_returns_the_method_itself() -> None:
    assert objectives.register("some-name-2")(len) is len


def test_a_package_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package_here"):
        list(Registry("thing", "no_such_package_here"))


def test_a_method_from_outside_is_built_by_its_module_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_rules.py").write_text(
        'class Mine:\n    """Be mine.\n\n    More."""\n    def __init__(self, *, power=1): self.power = power\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert rules["outside_rules:Mine"].summary == "Be mine."
    built = rules.build(ExternalComponent(name="outside_rules:Mine", power=4))  # type: ignore[call-arg]
    assert (type(built).__name__, built.power) == ("Mine", 4)


@pytest.mark.parametrize("name", ["no_such_module_here:Mine", "fedmetric.seeds:missing"])
def test_a_method_from_outside_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"federation rule '{name}' cannot be loaded: "):
        rules[name]


def test_building_hands_in_the_context_before_the_options() -> None:
    network = backbones.build(backbones["conv4"].options(width=3), 2, 16)
    assert network.get_submodule("block1.conv").weight.shape == (3, 2, 3, 3)
