"""Every key of an experiment explained."""

from __future__ import annotations

import pytest

from fedmetric.config import Experiment
from fedmetric.config.explain import CHOICES, explain_keys
from fedmetric.errors import ConfigError
from fedmetric.registry import REGISTRIES


def test_all_keys_are_described_in_one_line_each() -> None:
    lines = explain_keys()
    assert all(line and "\n" not in line for line in lines)
    assert [line for line in lines if line.rstrip().endswith(":")] == []
    for name in Experiment.model_fields:
        assert any(line.startswith((f"{name}:", f"{name} =")) for line in lines)


def test_every_section_that_chooses_a_method_has_its_registry() -> None:
    assert {registry.kind for registry in CHOICES.values()} == {registry.kind for registry in REGISTRIES}


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_every_registered_method_and_option_is_listed(key: str) -> None:
    text = "\n".join(explain_keys(key))
    for name, entry in CHOICES[key].items():
        assert f"{key}.name = {name!r}: {entry.summary}" in text
        for option in entry.parameters:
            assert f"{key}.{option.name} = " in text


def test_one_key_has_its_default_and_meaning() -> None:
    (line,) = explain_keys("seed")
    assert line == "seed = 1 (int, ge=0): every random choice derives from it"
    (line,) = explain_keys("federation.clients_per_round")
    assert line.startswith("federation.clients_per_round = 0 (int, ge=0): cohort size")
    (line,) = explain_keys("local.schedule")
    assert "(Literal['constant', 'cosine'])" in line


def test_an_option_is_found_by_the_key_that_one_writes() -> None:
    (line,) = explain_keys("objective.simclr.temperature")
    assert line.startswith("  objective.temperature = 0.5 (Positive): T of equation 1")
    assert len(explain_keys("views.rotation")) == 3
    assert len(explain_keys("objective.temperature")) > 3  # one line for each objective that has one


def test_a_section_lists_its_keys() -> None:
    assert len(explain_keys("evaluation")) == 1 + len(type(Experiment().evaluation).model_fields)
    assert len(explain_keys("objective.simclr")) == 4


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no key 'local\.lrr'; did you mean 'local\.lr'\?; 'fedmetric config"):
        explain_keys("local.lrr")
