"""FedUV's codewords and its hinge."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Generator, nn

from fedmetric.errors import ConfigError
from fedmetric.objectives.base import Batch
from fedmetric.objectives.feduv import FedUV, reed_muller_words
from oracles.geometry import cloud


def met(client: int, num_classes: int = 3, seed: int = 1, **options: int) -> FedUV:
    objective = FedUV(4, num_classes, **({"code_bits": 6, "id_bits": 3} | options))
    objective.meet(client, nn.Identity(), (), Generator().manual_seed(seed))
    return objective


def test_two_words_differ_in_half_of_their_places_or_in_all() -> None:
    words = reed_muller_words(torch.arange(32), 4)
    assert words.shape == (32, 16)
    assert set(words.unique().tolist()) == {-1.0, 1.0}
    for first, second in itertools.combinations(words, 2):
        assert int((first != second).sum()) in (8, 16)


def test_a_word_is_the_parity_of_its_message_and_the_place() -> None:
    """Message 0b110 of m = 2: a_0 = 1, a_2 = 1, a_1 = 0: places 00, 01, 10, 11 have parities 1, 1, 0, 0."""
    assert reed_muller_words(torch.tensor([0b110]), 2).tolist() == [[-1, -1, 1, 1]]


def test_no_two_classes_of_any_two_clients_have_the_same_word() -> None:
    words = torch.cat([met(client, seed=client).words.get_buffer("code") for client in range(8)])
    assert len(torch.unique(words, dim=0)) == 24


def test_words_are_drawn_from_the_generator_and_do_not_leave() -> None:
    objective = met(2)
    assert torch.equal(objective.words.get_buffer("code"), met(2).words.get_buffer("code"))
    assert not torch.equal(objective.words.get_buffer("code"), met(2, seed=9).words.get_buffer("code"))
    assert objective.private == ("words",)


def test_the_loss_is_the_mean_hinge_of_the_correlation() -> None:
    objective, points, labels = met(1), cloud(5, 4, 3), [0, 2, 1, 0, 2]
    weight, code = objective.matrix.weight.tolist(), objective.words.get_buffer("code").tolist()
    expected = 0.0
    for point, label in zip(points.tolist(), labels, strict=True):
        outputs = [sum(w * x for w, x in zip(row, point, strict=True)) for row in weight]
        length = sum(value * value for value in outputs) ** 0.5
        product = sum(a * b for a, b in zip(outputs, code[label], strict=True))
        expected += max(0.0, 1 - product / (length * len(outputs) ** 0.5)) / 5
    loss = objective(nn.Identity(), Batch((points,), torch.tensor(labels)))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_images_without_a_label_are_left_out() -> None:
    objective, points = met(1), cloud(4, 4, 3)
    some = objective(nn.Identity(), Batch((points,), torch.tensor([0, -1, 1, -1])))
    assert torch.equal(some, objective(nn.Identity(), Batch((points[[0, 2]],), torch.tensor([0, 1]))))
    none = Batch((points,), torch.full((4,), -1))
    assert objective(nn.Linear(4, 4), none).item() == 0
    assert objective.contributing(none) == 0


def test_more_clients_or_classes_than_words_are_refused() -> None:
    met(7).check_client(7, 10, 4)
    with pytest.raises(
        ConfigError, match="client 8 has no codewords: objective.id_bits = 3 is for 8 clients; raise it"
    ):
        FedUV(4, 3, code_bits=6, id_bits=3).check_client(8, 10, 4)
    with pytest.raises(ConfigError, match="client 1 has 17 classes and 16 codewords; raise objective.code_bits"):
        FedUV(4, 17, code_bits=6, id_bits=3).check_client(1, 40, 4)
    with pytest.raises(ConfigError, match="id_bits = 7 leaves no bit for classes"):
        FedUV(4, 3, code_bits=6, id_bits=7)
