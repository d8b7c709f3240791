"""Record-level privacy: one image moves a step by no more than is paid for, and what cannot keep that is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmetric.errors import ConfigError
from fedmetric.federation.base import LocalRound
from fedmetric.models.embedder import Embedder
from fedmetric.objectives.base import Batch
from fedmetric.privacy.accounting import Charge, epsilon_of
from fedmetric.privacy.base import ClippedSteps
from fedmetric.privacy.ledger import Ledger
from fedmetric.privacy.mechanisms.record_level import SENSITIVITY, RecordLevel
from fedmetric.privacy.schedule import Schedule
from fedmetric.privacy.statement import sentence_of, statement_of
from fedmetric.simulations.launch import start_run
from fedmetric.training.private_steps import batch_of, noisy_sum, portions
from fedmetric.training.site import Site
from tiny import tiny

pytest.importorskip("opacus", reason="the extra 'dp' is not installed")

PRIVATE = ("privacy=record-level", "federation.norm=group_norm", "objective=arcface")
CONTRASTIVE = ("privacy=record-level", "federation.norm=group_norm")
SCHEDULE = Schedule(num_clients=3, cohort=3, rounds=4, batch_size=8, epochs=2, images=(8, 40, 100))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (CONTRASTIVE, "'simclr' compares the images of a batch, .* the guarantee would be void; use a proxy loss"),
        ((*CONTRASTIVE, "objective=triplet"), "'triplet' compares the images of a batch"),
        ((*CONTRASTIVE, "objective=proxy-anchor"), "'proxy-anchor' compares the images of a batch"),
        (("privacy=record-level", "objective=arcface", "federation.norm=average"), "federation.norm to 'group_norm'"),
        ((*CONTRASTIVE, "objective=moco", "privacy.clipping=group"), "'moco' remembers images from one step to"),
        ((*CONTRASTIVE, "privacy.clipping=public"), "set public_classes above 0"),
        (
            (*CONTRASTIVE, "privacy.clipping=public", "public_classes=0.3", "objective=supcon"),
            "has no labels for public images, and objective 'supcon' learns from labels",
        ),
        ((*PRIVATE, "local.class_weights=inverse"), "local.class_weights = 'inverse' looks at more than one image"),
        ((*PRIVATE, "local.proxy_init=mean"), "local.proxy_init = 'mean' looks at more than one image"),
        ((*PRIVATE, "local.spread_out=0.1"), "local.spread_out = 0.1 looks at more than one image"),
        ((*PRIVATE, "local.sampler=balanced"), "local.sampler = 'balanced' looks at more than one image"),
        ((*PRIVATE, "federation.rule=fedprox"), "'fedprox' changes local steps in a way that is not accounted for"),
        ((*PRIVATE, "federation.rule=scaffold"), "federation.rule 'scaffold' .*sends"),
    ],
)  # fmt: skip
def test_training_whose_guarantee_would_be_void_is_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _ = Site(tiny(*overrides)).trainer


@pytest.mark.parametrize("objective", ["arcface", "proxy-nca", "norm-softmax", "cosface", "soft-triple"])
def test_proxy_losses_without_batch_norm_are_taken(objective: str) -> None:
    assert Site(tiny(*CONTRASTIVE, f"objective={objective}")).trainer.mechanism.unit == "record"


def embedder(*overrides: str, classes: int = 4) -> Embedder:
    """Build a small network without BatchNorm, for images of 16 pixels."""
    from fedmetric.models.embedder import build_embedder

    return build_embedder(tiny("federation.norm=group_norm", *overrides), 1, num_classes=classes).train()


def steps_of(clipping: str, noise: float = 0.0, clip: float = 1.0, batch_size: int = 8) -> ClippedSteps:
    return ClippedSteps(clip, noise, 1.0, batch_size, clipping, 2, True)


def sum_of(network: Embedder, batches: Sequence[Batch], steps: ClippedSteps, seed: int = 0) -> Tensor:
    """Return the sum of clipped gradients of portions, with whatever noise the steps have, flat."""
    parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    now = LocalRound(network, {}, parameters=parameters)

    def loss() -> Tensor:
        assert now.batch is not None
        return network.loss(now.batch)

    noisy_sum(now, [(batch, 0) for batch in batches], loss, steps, 1.0, np.random.default_rng(seed))
    return torch.cat([value.grad.flatten() for value in parameters.values() if value.grad is not None])


def views_of(records: Tensor, rows: Sequence[int], labels: Tensor | None = None) -> Batch:
    """Two views of each record: itself, and itself shifted by a pixel."""
    chosen = records[list(rows)]
    two = (chosen, chosen.roll(1, dims=-1))
    return Batch(two if labels is None else two[:1], None if labels is None else labels[list(rows)])


def adversarial(trial: int) -> tuple[Tensor, Tensor]:
    """Return records and labels: noise, near-duplicates, constants and outliers in turn."""
    generator = torch.Generator().manual_seed(trial)
    records = torch.rand(8, 1, 16, 16, generator=generator)
    if trial % 4 == 1:
        records = records[:1] + 0.01 * records
    elif trial % 4 == 2:
        records = records.mean(dim=(1, 2, 3), keepdim=True).expand(8, 1, 16, 16).contiguous()
    elif trial % 4 == 3:
        records[0] = 1.0 - records[1]
    return records.clamp(0, 1), torch.randint(4, (8,), generator=generator)


def largest_move(clipping: str, network: Embedder, labelled: bool, trials: int = 12) -> float:
    """Search for the batch whose sum of clipped gradients moves most, over C, when one record is taken away."""
    found, steps = 0.0, steps_of(clipping, clip=0.1)
    public = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(99))
    for trial in range(trials):
        records, labels = adversarial(trial)

        def sum_over(
            rows: np.ndarray, records: Tensor = records, labels: Tensor = labels, trial: int = trial
        ) -> Tensor:
            made = portions(rows, 8, steps, np.random.default_rng(trial))
            batches = [views_of(records, part.rows.tolist(), labels if labelled else None) for part in made]
            if clipping == "public":
                beside = (public, public.roll(1, dims=-1))
                batches = [Batch(tuple(torch.cat(pair) for pair in zip(b.views, beside, strict=True))) for b in batches]
            return sum_of(network, batches, steps)

        whole = sum_over(np.arange(8))
        for removed in (0, 5):
            rest = sum_over(np.delete(np.arange(8), removed))
            found = max(found, float((whole - rest).norm()) / steps.clip)
    return found


@pytest.mark.parametrize(
    ("clipping", "objective", "labelled"),
    [("record", "arcface", True), ("record", "proxy-nca", True), ("public", "simclr", False),
     ("group", "simclr", False), ("batch", "simclr", False), ("batch", "vicreg", False), ("group", "triplet", True)],
)  # fmt: skip
def test_removing_one_record_moves_the_sum_by_no_more_than_is_paid_for(
    clipping: str, objective: str, labelled: bool
) -> None:
    moved = largest_move(clipping, embedder(f"objective={objective}"), labelled)
    assert moved <= SENSITIVITY[clipping] * (1 + 1e-4)


def test_the_search_would_find_a_sensitivity_claimed_too_low() -> None:
    """Groups claimed at C would be wrong: the search finds more than that, so it can fail."""
    assert largest_move("group", embedder(), False) > 1.0


@pytest.mark.parametrize("num_records", [8, 32])
def test_opacus_takes_nt_xent_and_its_clipped_sum_moves_by_more_than_twice_the_bound(num_records: int) -> None:
    """The reason for the refusal: Opacus clips what belongs to each image, but all of that depends on all images."""
    from opacus import GradSampleModule

    generator = torch.Generator().manual_seed(4)
    records = torch.rand(num_records, 1, 16, 16, generator=generator)
    records = records[1:2] + 0.001 * records  # near-duplicates, and one that is none
    records[0] = torch.rand(1, 16, 16, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (torch.nn.Flatten(), torch.nn.Linear(256, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8))
        network = GradSampleModule(torch.nn.Sequential(*layers))

    def clipped_sum(records: Tensor, clip: float = 1e-3) -> Tensor:
        count = len(records)
        unit = torch.nn.functional.normalize(network(torch.cat([records, records.roll(1, dims=-1)])))
        similarities = (unit @ unit.T / 0.5).fill_diagonal_(-1e9)
        others = torch.cat([torch.arange(count, 2 * count), torch.arange(count)])
        torch.nn.functional.cross_entropy(similarities, others).backward()  # type: ignore[no-untyped-call]
        gradients = torch.cat([value.grad_sample.flatten(1) for value in network.parameters()], dim=1)
        network.zero_grad()
        records_own = gradients[:count] + gradients[count:]  # both views of an image
        factors = (clip / records_own.norm(dim=1, keepdim=True)).clamp(max=1)
        return (records_own * factors).sum(dim=0) / clip

    moved = float((clipped_sum(records) - clipped_sum(records[1:])).norm())
    assert moved > 2 * SENSITIVITY["record"]


def test_without_noise_and_beyond_every_norm_the_sum_over_records_is_the_gradient_of_the_batch() -> None:
    network = embedder("objective=arcface").double()
    records, labels = adversarial(0)
    records = records.double()
    parts = [views_of(records, [row], labels) for row in range(8)]
    found = sum_of(network, parts, steps_of("record", clip=1e9)) / 8
    network.zero_grad()
    network.loss(views_of(records, range(8), labels)).backward()  # type: ignore[no-untyped-call]
    expected = torch.cat([value.grad.flatten() for value in network.parameters() if value.grad is not None])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_the_noise_of_a_step_has_the_deviation_that_is_accounted_for_also_without_any_image() -> None:
    network = embedder("objective=arcface")
    noise = sum_of(network, [], steps_of("record", noise=3.0, clip=0.5))
    assert float(noise.std()) == pytest.approx(1.5, rel=0.05)
    assert not torch.equal(noise, sum_of(network, [], steps_of("record", noise=3.0, clip=0.5), seed=1))


def test_a_gradient_that_is_not_finite_counts_for_nothing() -> None:
    network = embedder("objective=arcface")
    bad = Batch((torch.full((1, 1, 16, 16), math.nan),), torch.tensor([0]))
    assert bool(torch.isfinite(sum_of(network, [bad], steps_of("record"))).all())


def test_a_lone_image_of_a_loss_of_pairs_has_no_gradient() -> None:
    network = embedder()
    records, _ = adversarial(0)
    assert float(sum_of(network, [views_of(records, [0])], steps_of("group")).abs().sum()) == 0.0


def test_one_record_more_changes_no_other_records_group() -> None:
    steps = steps_of("group")
    whole = portions(np.arange(8), 8, steps, np.random.default_rng(1))
    rest = portions(np.delete(np.arange(8), 3), 8, steps, np.random.default_rng(1))
    strip = [(tuple(row for row in part.rows if row != 3), part.seed) for part in whole]
    assert [part for part in strip if part[0]] == [(tuple(part.rows), part.seed) for part in rest]
    assert sorted(row for part in whole for row in part.rows) == list(range(8))


@pytest.mark.parametrize(("clipping", "objective"), [("record", "arcface"), ("public", "simclr"), ("group", "vicreg"),
                                                     ("group", "simclr"), ("batch", "simclr")])  # fmt: skip
def test_views_and_dropout_of_an_image_do_not_depend_on_the_other_images(clipping: str, objective: str) -> None:
    """The whole way of a step: real augmentation, one image taken away, the same randomness for all others."""
    site = Site(
        tiny(*CONTRASTIVE, f"objective={objective}", f"privacy.clipping={clipping}", "public_classes=0.3",
             "partition.clients=6")
    )  # fmt: skip
    trainer, images = site.trainer_of(0), site.images_of(0)
    network, steps = trainer.embedder.train(), steps_of(clipping, clip=0.1, batch_size=16)
    parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    now = LocalRound(network, {}, parameters=parameters)

    def loss() -> Tensor:
        assert now.batch is not None
        return network.loss(now.batch)

    def sum_over(rows: np.ndarray, trial: int) -> Tensor:
        made = portions(rows, len(images), steps, np.random.default_rng(trial))
        batches = [(batch_of(trainer, images, part, steps), part.seed) for part in made]
        noisy_sum(now, batches, loss, steps, 1.0, np.random.default_rng(0))
        return torch.cat([value.grad.flatten() for value in parameters.values() if value.grad is not None])

    for trial in range(3):
        rows = np.arange(12)
        moved = float((sum_over(rows, trial) - sum_over(rows[1:], trial)).norm()) / steps.clip
        assert 0.0 < moved <= SENSITIVITY[clipping] * (1 + 1e-4)


def test_the_noise_of_a_step_cannot_be_drawn_again_from_a_seed_of_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's CPU generators take 32 bits of a seed; the noise takes 256 from the operating system."""
    from fedmetric.privacy import randomness

    asked: list[int] = []
    real = randomness.secrets.randbits
    monkeypatch.setattr(randomness.secrets, "randbits", lambda bits: asked.append(bits) or real(bits))
    first, again = (randomness.private_generator(1, False, "noise").normal(size=4) for _ in range(2))
    assert asked == [256, 256]
    assert not np.array_equal(first, again)


@pytest.mark.parametrize("clipping", ["record", "public", "group", "batch"])
def test_every_client_pays_for_its_own_rate_steps_and_sensitivity(clipping: str) -> None:
    """8, 40 and 100 images in batches of 8, two passes: rates 1, 0.2, 0.08 and 2, 10, 24 steps."""
    mechanism = RecordLevel(noise=2.0, clipping=clipping)
    noise = 2.0 / SENSITIVITY[clipping]
    expected = {"0": Charge(noise, 1.0, 2), "1": Charge(noise, 0.2, 10), "2": Charge(noise, 0.08, 24)}
    assert mechanism.charges(SCHEDULE, [0, 1, 2]) == expected
    whole = [Charge(charge.noise, charge.rate, 4 * charge.times) for charge in expected.values()]
    (planned,) = mechanism.planned(SCHEDULE)
    assert epsilon_of([planned], 1e-5) == max(epsilon_of([charge], 1e-5) for charge in whole)


@pytest.mark.parametrize("clipping", ["record", "group"])
def test_clients_of_all_sizes_end_at_the_epsilon_that_is_wanted(clipping: str) -> None:
    mechanism = RecordLevel(target_epsilon=5.0, clipping=clipping)
    for images in SCHEDULE.images:
        charge = mechanism.charge_of(SCHEDULE, images)
        spent = epsilon_of([Charge(charge.noise, charge.rate, charge.times * SCHEDULE.rounds)], 1e-5)
        assert 4.9 < spent <= 5.0
    assert len({mechanism.noise_of(SCHEDULE, images) for images in SCHEDULE.images}) == 3


def test_what_only_the_clients_know_is_not_called_nothing(tmp_path: Path) -> None:
    """A server that does not know how many images a site has must not claim that nothing is spent."""
    apart = Schedule(num_clients=3, cohort=3, rounds=4, batch_size=8, epochs=2)
    assert RecordLevel().charges(apart, [0, 1, 2]) == {}
    found = statement_of(RecordLevel(), apart, Ledger(tmp_path / "ledger.jsonl"))
    assert (found["epsilon"], found["planned"]) == (None, None)
    assert sentence_of(found) == "privacy: not counted here: every client keeps a ledger of its own"


def test_the_client_that_pays_most_need_not_be_the_smallest() -> None:
    """63 images in batches of 32 are one step of a round, 64 are two."""
    schedule = Schedule(num_clients=2, cohort=2, rounds=50, batch_size=32, epochs=1, images=(63, 64, 0))
    assert RecordLevel().planned(schedule) == (Charge(1.0, 0.5, 100),)
    assert list(RecordLevel().charges(schedule, [0, 1, 2])) == ["0", "1"]


def test_a_step_of_groups_or_of_one_batch_is_as_loud_as_its_few_portions_make_it() -> None:
    schedule = Schedule(num_clients=1, cohort=1, rounds=1, batch_size=64, epochs=1, images=(128,))
    loud = {name: RecordLevel(clipping=name).loudness(schedule, 10_000) for name in ("record", "group", "batch")}
    assert loud == {"record": 100 / 64, "group": 100 / 16, "batch": 100.0}


def run(folder: Path, *overrides: str) -> tuple[str, Ledger]:
    small = ("partition.clients=4", "local.batch_size=64", "federation.rounds=1", "evaluation.every=0")
    experiment = tiny(*PRIVATE, *small, *overrides)
    summary = start_run(experiment, folder, lambda event: None, workers=1)
    assert summary["privacy"]["unit"] == "record"
    return str(summary["weights_sha256"]), Ledger(folder / "ledger.jsonl")


def test_a_run_writes_what_each_client_has_spent_and_cannot_be_repeated(tmp_path: Path) -> None:
    first, ledger = run(tmp_path / "one", "evaluation.tasks=['retrieval']")
    again, _ = run(tmp_path / "two", "evaluation.tasks=['retrieval']")
    assert first != again
    assert ledger.accounts() == ["0", "1", "2", "3"]
    site = Site(tiny(*PRIVATE, "partition.clients=4", "local.batch_size=64"))
    sizes = [len(part) for part in site.parts]
    assert [entry.charge.rate for entry in ledger.entries] == [64 / size for size in sizes]
    assert ledger.epsilon(1e-5) == max(epsilon_of(ledger.charges(account), 1e-5) for account in ledger.accounts())


def test_a_seeded_run_can_be_repeated_and_says_that_it_is_not_private(tmp_path: Path) -> None:
    digests = {run(tmp_path / name, "privacy.seeded=true")[0] for name in ("one", "two")}
    assert len(digests) == 1
    label = RecordLevel(seeded=True).guarantee(SCHEDULE).label
    assert label == "NOT PRIVATE: noise and batches follow from the experiment's seed"


@pytest.mark.parametrize("clipping", ["public", "group", "batch"])
def test_contrastive_losses_train_under_their_own_kinds_of_clipping(clipping: str) -> None:
    from fedmetric.federation.memory import ClientState
    from fedmetric.training.local_update import local_update

    site = Site(
        tiny(*CONTRASTIVE, f"privacy.clipping={clipping}", "public_classes=0.3", "partition.clients=6",
             "local.batch_size=64", "federation.rule=fedavg")
    )  # fmt: skip
    shared = site.beginning()
    update = local_update(site.trainer_of(0), site.images_of(0), shared, {}, ClientState(0), 1)
    assert (update.num_examples, dict(update.metrics)) == (1, {})
    moved = [name for name in shared if not np.array_equal(update.arrays[name], shared[name])]
    assert "backbone.block1.conv.weight" in moved
