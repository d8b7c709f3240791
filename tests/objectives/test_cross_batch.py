"""The memory of earlier batches: what it keeps, and the loss with it against loops over all pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedmetric.objectives.circle import Circle
from fedmetric.objectives.contrastive import Contrastive
from fedmetric.objectives.cross_batch import CrossBatchMemory
from fedmetric.objectives.multi_similarity import MultiSimilarity
from fedmetric.objectives.pairs import MinedObjective
from fedmetric.simulations.launch import start_run
from oracles import pairs
from oracles.geometry import cloud
from tiny import tiny

FIRST, SECOND = [0, 0, 1, 1, 2, 0], [1, 1, 0, 2, 2, 3]
ALL = [Contrastive(4, memory=8), MultiSimilarity(4, memory=8), Circle(4, memory=8)]


def points(seed: int) -> Tensor:
    return cloud(6, 4, seed).double()


def test_the_newest_embeddings_are_kept_without_gradients_the_oldest_first() -> None:
    memory = CrossBatchMemory(8)
    given = torch.arange(24.0, requires_grad=True).reshape(12, 2)
    for start in range(0, 12, 6):
        memory.add(given[start : start + 6] * 1, torch.arange(start, start + 6))
    assert memory.labels.tolist() == list(range(4, 12))
    assert torch.equal(memory.embeddings, given[4:].detach())
    assert not memory.embeddings.requires_grad
    memory.clear()
    assert len(memory) == 0


@pytest.mark.parametrize("size", [4, 6, 50])
def test_contrastive_adds_what_the_pairs_with_the_memory_pay(size: int) -> None:
    objective = Contrastive(4, positive_margin=0.3, negative_margin=1.6, memory=size, distance="euclidean")
    objective.begin_round(1)
    objective.compare(points(1), torch.tensor(FIRST))
    found = float(objective.compare(points(2), torch.tensor(SECOND)))

    new, old, labels = points(2).tolist(), points(1).tolist()[-size:], FIRST[-size:]
    alone = pairs.contrastive(new, SECOND, pairs.euclidean_distance, 0.3, 1.6)
    compared = [
        (pairs.euclidean_distance(x, y), a == b)
        for x, a in zip(new, SECOND, strict=True)
        for y, b in zip(old, labels, strict=True)
    ]
    pulled = pairs.paying(max(0.0, d - 0.3) for d, same in compared if same)
    pushed = pairs.paying(max(0.0, 1.6 - d) for d, same in compared if not same)
    assert found == pytest.approx(alone + pulled + pushed, abs=1e-6)


@pytest.mark.parametrize("objective", ALL, ids=lambda objective: type(objective).__name__)
def test_the_first_batch_of_a_round_meets_no_memory_and_later_ones_do(objective: MinedObjective) -> None:
    values = []
    for round in (1, 2):
        objective.begin_round(round)
        values += [float(objective.compare(points(seed), torch.tensor(FIRST))) for seed in (1, 2)]
    plain = type(objective)(4)
    assert values[0] == float(plain.compare(points(1), torch.tensor(FIRST)))
    assert values[1] > float(plain.compare(points(2), torch.tensor(FIRST)))
    assert values[2:] == values[:2]


@pytest.mark.parametrize("objective", ALL, ids=lambda objective: type(objective).__name__)
def test_the_memory_is_no_state(objective: MinedObjective) -> None:
    objective.compare(points(1), torch.tensor(FIRST))
    assert objective.state_dict() == {}


def test_a_run_with_a_memory_is_another_run_and_the_same_with_more_workers(tmp_path: Path) -> None:
    def sha256(name: str, options: str, workers: int = 1) -> str:
        chosen = tiny(f'objective={{name="contrastive"{options}}}', "federation.rounds=1", "evaluation.every=0")
        return str(start_run(chosen, tmp_path / name, lambda event: None, workers=workers)["weights_sha256"])

    remembered = sha256("remembered", ", memory=128")
    assert remembered != sha256("plain", "")
    assert remembered == sha256("two", ", memory=128", workers=2)
