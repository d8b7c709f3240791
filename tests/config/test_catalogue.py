"""The catalogue says of every method what it is, where it comes from and what leaves a client."""

from __future__ import annotations

import re

import pytest

from fedmetric.config.catalogue import Method, markdown, objective_methods, rule_methods, source_of
from fedmetric.models.embedder import build_embedder
from fedmetric.registry import Entry, distances, miners, objectives, rules
from fedmetric.training.site import Site
from tiny import tiny

OBJECTIVES = {method.name: method for method in objective_methods()}
RULES = {method.name: method for method in rule_methods()}
OWN = {"hybrid", "solo"}
"""Methods that are no paper's."""


def entry(document: str) -> Entry:
    return Entry("objective", "mine", "mine", "Mine", "Does it.", document=document)


@pytest.mark.parametrize(
    ("document", "source"),
    [
        ("Mine.\n\nMe, A Title: With a Colon, ICML 2020.", "Me, A Title: With a Colon, ICML 2020"),
        ("Mine.\n\nMe, A Title, ICML\n2020, equation 1: clients do it.", "Me, A Title, ICML 2020, equation 1"),
        ("Mine.\n\nMe, A Title, ICML 2020.\n\nDifferences: none.", "Me, A Title, ICML 2020"),
        ("Mine.", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_source_is_the_second_paragraph_up_to_a_colon_before_a_small_letter(document: str, source: str) -> None:
    assert source_of(entry(document)) == source


@pytest.mark.parametrize("method", [*OBJECTIVES.values(), *RULES.values()], ids=lambda method: method.name)
def test_every_method_names_a_paper_with_its_year(method: Method) -> None:
    assert method.summary.endswith(".")
    assert method.fits
    if method.name not in OWN:
        assert re.search(r"\b(19|20)\d\d\b", method.source), method.source
        assert "Difference" not in method.source


@pytest.mark.parametrize("name", sorted(set(objectives) - {"hybrid"}))
def test_what_an_objective_is_said_to_share_is_what_goes_up(name: str) -> None:
    """Of the groups of the network as the training site builds it, those with a tensor that goes up."""
    needs = objectives[name].traits.get("rule")
    trainer = Site(tiny(f"objective.name={name}", *([f"federation.rule={needs}"] if needs else []))).trainer
    up = {trainer.embedder.layout.groups[tensor] for tensor in trainer.routes.up}
    assert set(OBJECTIVES[name].shares.split(", ")) == up


def test_shares_by_hand() -> None:
    assert OBJECTIVES["moco"].shares == "backbone, projector"
    assert OBJECTIVES["byol"].shares == "backbone, projector, predictor"
    assert RULES["solo"].shares == "nothing"
    assert RULES["fedper"].shares == "backbone weights"
    assert RULES["fedavg"].shares == "weights"


@pytest.mark.parametrize("name", sorted(objectives))
def test_decomposable_is_what_the_objective_says(name: str) -> None:
    needs = objectives[name].traits.get("rule")
    experiment = tiny(f"objective.name={name}", *([f"federation.rule={needs}"] if needs else []))
    assert OBJECTIVES[name].decomposable is build_embedder(experiment, 1).objective.decomposable


def test_fits_is_told_alike_from_both_sides() -> None:
    one = {(objective.name, rule) for objective in OBJECTIVES.values() for rule in objective.fits}
    other = {(objective, rule.name) for rule in RULES.values() for objective in rule.fits}
    assert one == other
    assert ("byol", "fedu") in one
    assert ("simclr", "fedu") not in one


def test_options_are_listed_with_default_and_description() -> None:
    assert RULES["fedprox"].options[0][:2] == ("mu", "0.01")
    assert all(text for method in (*OBJECTIVES.values(), *RULES.values()) for _, _, text in method.options)


def test_the_page_has_a_row_for_every_method_and_every_option() -> None:
    page = markdown()
    for method in (*OBJECTIVES.values(), *RULES.values()):
        (row,) = [
            line for line in page.splitlines() if line.startswith(f"| `{method.name}` |") and method.summary in line
        ]
        assert method.source in row
        assert method.shares in row
        assert all(f"`{name} = {default}`" in page for name, default, _ in method.options)
    for registry in (distances, miners):
        for name, entry in registry.items():
            assert f"| `{name}` | {entry.summary} | {source_of(entry)} |" in page
            assert all(
                f"`{option.name} = {option.default}`: {option.description}" in page for option in entry.parameters
            )
    trains = {line.split(" | ")[0]: line for line in page.splitlines() if "every objective" in line}
    assert "| `fedavg`" in trains
    assert "| `fedu`" not in trains
    assert set(OBJECTIVES) == set(objectives)
    assert set(RULES) == set(rules)
