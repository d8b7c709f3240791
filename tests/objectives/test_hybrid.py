"""A hybrid against its parts, and what its options refuse."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from fedmetric.config import parse_experiment
from fedmetric.errors import ConfigError
from fedmetric.objectives.base import Batch, Objective
from fedmetric.objectives.byol import BYOL
from fedmetric.objectives.hybrid import Hybrid
from fedmetric.objectives.moco import MoCo
from fedmetric.objectives.momentum import Target
from fedmetric.objectives.simclr import SimCLR
from fedmetric.objectives.supcon import SupCon
from fedmetric.registry import objectives
from oracles.geometry import cloud

LABELS = torch.tensor([0, 1, -1, 0, -1, 1])
MOMENTUM: dict[str, Any] = {"parts": ({"name": "moco", "queue_size": 8}, "byol", "dino"), "weights": (1.0, 0.5, 2.0)}


def backbone() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def batch(labels: Tensor | None = LABELS, count: int = 6) -> Batch:
    return Batch((cloud(count, 3, 1), cloud(count, 3, 2)), labels)


def hybrid(*weights: float, **options: Any) -> Hybrid:
    torch.manual_seed(6)
    return Hybrid(4, weights=weights, **options) if weights else Hybrid(4, **options)


def results(objective: nn.Module, given: Batch) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return the loss, the gradients of the backbone and its state after the step."""
    network = backbone()
    loss: Tensor = objective(network, given)
    loss.backward()
    grads = [weight.grad for weight in network.parameters() if weight.grad is not None]
    return loss, grads, list(network.state_dict().values())


def equal(first: tuple[Tensor, list[Tensor], list[Tensor]], second: tuple[Tensor, list[Tensor], list[Tensor]]) -> bool:
    pairs = zip((first[0], *first[1], *first[2]), (second[0], *second[1], *second[2]), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_stages_take_their_turns_by_rounds_and_the_last_goes_on() -> None:
    stages = ({"rounds": 2, "weights": (1.0, 0.0)}, {"rounds": 3, "weights": (0.0, 2.0)})
    staged = hybrid(stages=stages)
    found = []
    for round in (1, 2, 3, 5, 9):
        staged.begin_round(round)
        found.append(tuple(staged.weights.values()))
    assert found == [(1.0, 0.0), (1.0, 0.0), (0.0, 2.0), (0.0, 2.0), (0.0, 2.0)]
    staged.begin_round(1)
    assert equal(results(staged, batch()), results(hybrid(1.0, 0.0), batch()))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("{ rounds = 2 }", r"stage 0 is \{'rounds': 2\}, not a table of rounds and weights"),
        ("{ rounds = 0, weights = [1, 1] }", "stage 0: rounds is 0, a whole number of at least 1 is needed"),
        ("{ rounds = 1, weights = [1] }", "stage 0: weights: 1 weights for 2 parts"),
        ("{ rounds = 1, weights = [0, 0] }", "stage 0: weights: every weight is 0"),
        ("{ rounds = 1, weights = [1, -1] }", "stage 0: weights: Input should be greater than or equal to 0"),
    ],
)
def test_stages_that_cannot_be_are_refused(stage: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_experiment(f'objective = {{ name = "hybrid", stages = [{stage}] }}')


def test_proxies_of_a_part_are_those_of_the_client_and_meet_it() -> None:
    parts = ("simclr", "proxy-nca")
    first, second = (Hybrid(4, 5, parts=parts) for _ in range(2))
    for client, one in enumerate((first, second)):
        one.meet(client, nn.Identity(), (), Generator().manual_seed(client))
    assert first.needs_classes
    assert first.private == ("proxy-nca.proxies",)
    rows = [one.parts["proxy-nca"].rows() for one in (first, second)]  # type: ignore[operator]
    assert rows[0].shape == (5, 1, 4)
    assert not torch.equal(*rows)


def test_weights_of_one_and_zero_are_the_first_part_bit_for_bit() -> None:
    torch.manual_seed(6)
    alone = SimCLR(4)
    assert equal(results(hybrid(1.0, 0.0), batch()), results(alone, batch()))


def test_weights_of_zero_and_one_are_the_second_part_bit_for_bit() -> None:
    torch.manual_seed(6)
    SimCLR(4)
    alone = SupCon(4)
    assert equal(results(hybrid(0.0, 1.0), batch()), results(alone, batch()))


def test_the_loss_is_the_weighted_sum() -> None:
    alone = [results(hybrid(*weights), batch())[0].item() for weights in ((1.0, 0.0), (0.0, 1.0))]
    both = results(hybrid(0.5, 3.0), batch())[0].item()
    assert both == pytest.approx(0.5 * alone[0] + 3 * alone[1], rel=1e-5)


def test_self_supervised_parts_see_every_image_and_supervised_ones_the_labelled() -> None:
    sizes: dict[str, int] = {}
    objective = hybrid()

    def note(name: str) -> Any:
        return lambda module, inputs: sizes.update({name: len(inputs[0])})

    for name, part in objective.parts.items():
        part.get_submodule("projector").register_forward_pre_hook(note(name))
    objective(backbone(), batch())
    assert sizes == {"simclr": 12, "supcon": 8}


@pytest.mark.parametrize("labels", [[-1, -1, -1, -1, -1, -1], [-1, 3, -1, -1, -1, -1]])
def test_too_few_labels_leave_the_self_supervised_part_and_a_gradient_of_zero(labels: list[int]) -> None:
    objective = hybrid()
    given = batch(torch.tensor(labels))
    assert equal(results(objective, given), results(hybrid(1.0, 0.0), given))
    grads = [weight.grad for weight in objective.parts["supcon"].parameters()]
    assert all(grad is not None and not grad.any() for grad in grads)


def test_without_supervised_parts_no_labels_are_needed() -> None:
    objective = hybrid(1.0, 1.0, parts=("simclr", "dcl"))
    assert not objective.needs_labels
    assert torch.isfinite(objective(backbone(), batch(None)))
    assert hybrid().needs_labels


def test_groups_are_named_by_part_and_private_ones_stay_private() -> None:
    objective = hybrid(**MOMENTUM)
    objective.attach(backbone())
    assert objective.groups == (
        "moco.projector", "moco.queue", "moco.target", "byol.projector", "byol.predictor", "byol.target",
        "dino.projector", "dino.centre", "dino.target",
    )  # fmt: skip
    assert objective.private == ("moco.queue", "dino.centre")
    assert all(objective.get_submodule(name) is module for name, module in objective.group_modules().items())


@pytest.mark.parametrize(
    ("parts", "policy"),
    [(("simclr", "dcl"), ""), (("simclr", "moco"), "reset"), (("byol", "tico"), "local"), (("moco", "byol"), "local")],
)
def test_the_target_policy_is_that_of_the_parts_and_local_where_they_differ(
    parts: tuple[str, ...], policy: str
) -> None:
    assert hybrid(1.0, 1.0, parts=parts).target_policy == policy


def test_every_part_has_its_own_target_that_follows_and_is_reset() -> None:
    objective, network = hybrid(**MOMENTUM), backbone()
    objective.attach(network)

    def weights() -> list[Tensor]:
        targets = [module for module in objective.modules() if isinstance(module, Target)]
        assert len(targets) == 3
        return [target.layers.get_submodule("0.0").get_parameter("weight").clone() for target in targets]

    online = network.get_submodule("0").get_parameter("weight")
    was = online.detach().clone()
    with torch.no_grad():
        online.add_(1)
    objective.after_step(network, 0.0)
    assert all(torch.allclose(weight, was + 0.01, atol=1e-6) for weight in weights())
    objective.reset_target(network)
    assert all(torch.equal(weight, online) for weight in weights())


def test_private_state_of_parts_is_part_of_the_state() -> None:
    first, network = hybrid(**MOMENTUM), backbone()
    first.attach(network)
    second = copy.deepcopy(first)
    for step in range(2):
        first(network, Batch((cloud(4, 3, step), cloud(4, 3, 9))))
    second.load_state_dict(first.state_dict())
    given = Batch((cloud(4, 3, 20), cloud(4, 3, 21)))
    assert torch.equal(second(network, given), first(network, given))


def test_every_part_may_refuse_a_client() -> None:
    objective = hybrid(**MOMENTUM)
    objective.check_client(0, 8, 8)
    with pytest.raises(ConfigError, match="objective.queue_size=8 but client 2 holds 7 images"):
        objective.check_client(2, 7, 7)


def test_options_reach_the_parts() -> None:
    experiment = parse_experiment(
        'objective = {name = "hybrid", parts = [{name = "moco", queue_size = 8}, "byol"], weights = [1, 2]}'
    )
    objective: Objective = objectives.build(experiment.objective, 4)
    assert isinstance(objective, Hybrid)
    moco, byol = objective.parts.values()
    assert isinstance(moco, MoCo)
    assert isinstance(byol, BYOL)
    assert moco.queue_size == 8
    assert objective.weights == {"moco": 1.0, "byol": 2.0}


def test_a_default_written_out_is_the_same_experiment() -> None:
    short = parse_experiment('objective = "hybrid"')
    written = parse_experiment(
        'objective = {name = "hybrid", parts = [{name = "simclr", temperature = 0.5}, "supcon"], weights = [1.0, 1.0]}'
    )
    assert short.fingerprint() == written.fingerprint()
    assert parse_experiment(short.to_toml()) == short
    changed = parse_experiment(
        'objective = {name = "hybrid", parts = ["simclr", {name = "supcon", temperature = 0.2}]}'
    )
    assert changed.fingerprint() != short.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ('parts = ["simclrr", "supcon"]', "parts: part 0: unknown objective 'simclrr'; did you mean 'simclr'"),
        ('parts = ["simclr", "hybrid"]', "parts: a hybrid cannot be part of a hybrid; list its parts themselves"),
        ('parts = ["simclr", "simclr"]', "parts: part 1: 'simclr' is listed twice"),
        ('parts = ["simclr", 3]', "parts: part 1 is 3, not the name of an objective or a table with its name"),
        (
            'parts = ["simclr", {name = "moco", que_size = 8}]',
            "parts: part 1 (moco): unknown key 'que_size'; did you mean 'queue_size'?; allowed here: temperature",
        ),
        (
            'parts = ["simclr", {name = "supcon", temperature = -1}]',
            "parts: part 1 (supcon): temperature: Input should be greater than 0, not -1",
        ),
        ('parts = ["simclr"]', "weights: 2 weights for 1 parts; give one weight for each part"),
        ("weights = [1]", "weights: 1 weights for 2 parts; give one weight for each part"),
        ("weights = [0, 0]", "weights: every weight is 0; give at least one part a weight above 0"),
        ("weights = [1, -1]", "weights.1: Input should be greater than or equal to 0"),
        ("parts = []", "parts: Tuple should have at least 1 item"),
    ],
)
def test_wrong_parts_are_refused_when_the_experiment_is_read(options: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_experiment(f'objective = {{name = "hybrid", {options}}}')
    assert f"objective.{message}" in str(error.value)


def test_parts_are_checked_without_loading_torch() -> None:
    text = 'objective = {name = "hybrid", parts = ["moco", "supcon"]}'
    code = f"import sys; from fedmetric.config import parse_experiment as p; p({text!r}); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
