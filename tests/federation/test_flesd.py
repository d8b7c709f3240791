"""Similarity distillation: what is uploaded, how it is averaged, and that a server learns from it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedmetric.errors import ConfigError
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.flesd import FLESD, SIMILARITY, similarity_divergence
from fedmetric.federation.memory import ClientState
from fedmetric.layout import Layout
from fedmetric.simulations.launch import start_run
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site
from tiny import tiny

PUBLIC = ("public_classes=0.34", 'federation.rule={name="flesd", steps=5, batch_size=32}')


def test_the_ensemble_is_the_plain_mean_of_sharpened_similarities() -> None:
    """Similarities 1 and 0 at sharpness 0.5: (e^0 + e^-2) / 2, whatever the clients' images count."""
    rule = FLESD(RuleContext(Layout({})), sharpness=0.5)
    total = rule.begin({}, {})
    for client, value in enumerate((1.0, 0.0)):
        rule.fold(total, Update(client, {}, 1 + 99 * client, {SIMILARITY: np.full((2, 2), value, np.float32)}))
    assert total.extra.mean()[SIMILARITY] == pytest.approx(np.full((2, 2), (1 + math.exp(-2)) / 2))


def test_the_divergence_is_that_of_the_loops() -> None:
    generator = torch.Generator().manual_seed(1)
    embeddings, ensemble = torch.randn(4, 3, generator=generator), torch.rand(4, 4, generator=generator) + 0.1
    unit, expected = functional.normalize(embeddings, dim=1), 0.0
    for i in range(4):
        others = [j for j in range(4) if j != i]
        student = [math.exp(float(unit[i] @ unit[j]) / 0.2) for j in others]
        wanted = [float(ensemble[i, j]) for j in others]
        for s, w in zip(student, wanted, strict=True):
            p = w / sum(wanted)
            expected += p * math.log(p / (s / sum(student))) / 4
    assert float(similarity_divergence(embeddings, ensemble, 0.2)) == pytest.approx(expected, rel=1e-5)


def test_a_student_with_the_ensembles_own_similarities_has_no_divergence() -> None:
    unit = functional.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(2)), dim=1)
    assert float(similarity_divergence(unit, torch.exp(unit @ unit.T / 0.3), 0.3)) == pytest.approx(0.0, abs=1e-6)


def test_no_weights_leave_a_client_and_its_whole_network_stays() -> None:
    site, state = Site(tiny(*PUBLIC)), ClientState(0)
    update = local_update(site.trainer_of(0), site.images_of(0), {}, {}, state, 1)
    assert update.arrays == {}
    count = len(site.public_pixels)
    assert {name: array.shape for name, array in update.extra.items()} == {SIMILARITY: (count, count)}
    np.testing.assert_allclose(np.diag(update.extra[SIMILARITY]), 1.0, atol=1e-5)
    assert set(state.own) == set(site.trainer.embedder.layout.groups)


def test_public_classes_are_at_no_client_and_not_evaluated() -> None:
    site = Site(tiny(*PUBLIC))
    sets = [set(s.present_classes()) for s in (site.public_images, site.training_images, site.evaluation_images)]
    assert len(sets[0]) == 2
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]


def test_clients_may_have_different_encoders() -> None:
    rule = 'federation.rule={name="flesd", encoders=["conv4", {name="conv4", width=16}]}'
    site = Site(tiny("public_classes=0.34", rule))
    widths = [site.trainer_of(client).embedder.backbone.block1.conv.out_channels for client in range(3)]
    assert widths == [64, 16, 64]
    assert site.trainer.embedder.backbone.block1.conv.out_channels == 8


def test_an_unknown_encoder_is_named_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="encoder 1: unknown backbone 'conv5'; did you mean 'conv4'"):
        tiny("public_classes=0.34", 'federation.rule={name="flesd", encoders=["conv4", "conv5"]}')


def test_without_public_images_the_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="'flesd' needs images that everybody has; set public_classes above 0"):
        tiny("federation.rule=flesd")


def test_a_run_trains_the_servers_encoder_and_two_workers_give_the_weights_of_one(tmp_path: Path) -> None:
    shas = set()
    for workers in (1, 2):
        summary = start_run(
            tiny(*PUBLIC, "evaluation.every=0"), tmp_path / str(workers), lambda event: None, workers=workers
        )
        shas.add(summary["weights_sha256"])
        assert summary["evaluation"]["trained"]["recall@1"] != summary["evaluation"]["random"]["recall@1"]
    assert len(shas) == 1
