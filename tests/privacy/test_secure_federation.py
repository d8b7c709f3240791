"""Secure aggregation in a federation: the plain clipped mean, of moves that nobody has seen; lost clients; noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message

from fedmetric.arrays import Arrays
from fedmetric.clients import app as client_app
from fedmetric.config import Experiment
from fedmetric.errors import ConfigError, TooFewClientsError
from fedmetric.federation.robust import trained
from fedmetric.privacy.clipping import flat_norm
from fedmetric.privacy.ledger import Ledger
from fedmetric.privacy.manifest import read_manifest
from fedmetric.privacy.schedule import Schedule
from fedmetric.privacy.secure.fixed_point import quantisation_bound
from fedmetric.privacy.secure.masking import Masking
from fedmetric.privacy.secure.noise import DistributedNoise, mechanism_of
from fedmetric.runs import RunFolder
from fedmetric.server.exchange import Clients
from fedmetric.server.loop import Report, plan_of, serve
from fedmetric.server.rounds import RoundOutcome, run_round
from fedmetric.simulations.engines.grid import LocalGrid
from fedmetric.simulations.engines.inline import InlineWorkers
from fedmetric.simulations.engines.local import run_local
from fedmetric.training.site import Site
from fedmetric.wire import Request, unpack_request, unpack_update
from tiny import tiny

FOUR = (
    "partition.clients=4", "federation.norm=group_norm", "federation.rounds=1", "evaluation.every=0",
    "local.optimiser=sgd", "local.lr=0.01",
    "objective.hidden_dim=32", "objective.output_dim=32",
)  # fmt: skip
SECURE = (*FOUR, "federation.secure.on=true")
TIGHT = "federation.secure.clip=0.05"
"""Below what every client moves, so that the clip matters."""
NOISY = (*SECURE, "privacy.name=client-level", "privacy.clip=0.05", "privacy.noise=2.0", "privacy.seeded=true")
Change = Callable[[Request, Message], Message | None]


class Meddling(InlineWorkers):
    """Run the ClientApp, let some of its replies be replaced, and keep what the server receives."""

    def __init__(self, change: Change = lambda request, reply: None) -> None:
        super().__init__(client_app.app)
        self.change, self.replies = change, list[tuple[str, Message]]()

    def result(self, identifier: str) -> tuple[Message, Any]:
        message, context = self._waiting[identifier]
        reply, context = super().result(identifier)
        reply = self.change(unpack_request(message.content), reply) or reply
        self.replies.append((message.metadata.message_type, reply))
        return reply, context


def lost(*lost: tuple[int, str]) -> Change:
    """Turn the replies of some clients at some stages into errors; a stage is the end of a message's type."""

    def change(request: Request, reply: Message) -> Message | None:
        stages = dict(lost)
        stage = reply.metadata.message_type.rpartition(".")[2]
        return Message(Error(1, "gone"), reply_to=reply) if stages.get(request.client) == stage else None

    return change


class Run:
    """One round of an experiment on a grid in this process."""

    def __init__(self, experiment: Experiment, change: Change = lambda request, reply: None, rounds: int = 1) -> None:
        self.site = Site(experiment)
        self.crew = Meddling(change)
        grid = LocalGrid(self.site.num_clients, self.crew)
        self.grid, self.clients = grid, Clients(grid, sorted(grid.get_node_ids()), 1)
        self.plan = plan_of(self.site)
        self.before = self.site.beginning()

    def round(self, number: int = 1) -> RoundOutcome:
        return run_round(self.clients, self.plan, number, self.before, self.plan.rule.init(self.before))

    @property
    def names(self) -> list[str]:
        return trained(self.plan.layout, self.before)


@pytest.fixture(scope="module")
def moves() -> dict[int, Arrays]:
    """Return the move of every client in round 1, as they are sent without secure aggregation."""
    run = Run(tiny(*FOUR))
    run.round()
    updates = [unpack_update(reply.content, 1, client) for client, (_, reply) in enumerate(run.crew.replies)]
    return {
        update.client: {name: update.arrays[name].astype(np.float64) - run.before[name] for name in run.names}
        for update in updates
    }


def clipped_mean(moves: Mapping[int, Arrays], clients: Iterable[int], clip: float, over: float) -> Arrays:
    """Return the sum of some clients' moves over a number, each scaled to `clip` if it is longer: by hand."""
    found: Arrays = {}
    for client in clients:
        norm = np.sqrt(sum(np.sum(array**2) for array in moves[client].values()))
        for name, array in moves[client].items():
            found[name] = found.get(name, 0.0) + array * min(1.0, clip / norm) / over
    return found


def check_moved(run: Run, outcome: RoundOutcome, expected: Arrays, bound: float) -> None:
    """Compare what the weights moved by with what is expected, coordinate by coordinate."""
    for name in run.names:
        rounding = np.abs(outcome.shared[name]).max() * 2.0**-24  # the new weights are float32
        np.testing.assert_allclose(
            outcome.shared[name], run.before[name] + expected[name], rtol=0, atol=bound + rounding
        )


@pytest.mark.parametrize("clip", [0.05, 100.0])
def test_the_new_weights_are_the_plain_clipped_mean_to_the_bound(moves: dict[int, Arrays], clip: float) -> None:
    assert all(0.05 < flat_norm(move) < 100 for move in moves.values())
    run = Run(tiny(*SECURE, f"federation.secure.clip={clip}"))
    outcome = run.round()
    assert (outcome.counted, outcome.replied, outcome.failures) == (True, 4, ())
    check_moved(run, outcome, clipped_mean(moves, range(4), clip, 4), quantisation_bound(clip, 4) / 4)
    frozen = set(run.before) - set(run.names)
    assert all(np.array_equal(outcome.shared[name], run.before[name]) for name in frozen)


def test_masks_vanish_without_trace_so_that_workers_and_runs_give_the_same_bits(tmp_path: Path) -> None:
    """Masks are random and cancel exactly: integers modulo 2^32."""
    found = []
    for name, workers in (("one", 1), ("again", 1), ("two", 2)):
        experiment = tiny(*SECURE, TIGHT, "federation.rounds=2")
        folder = RunFolder.create(tmp_path / name, experiment)
        events: list[Mapping[str, Any]] = []
        found.append(run_local(Site(experiment), folder, events.append, workers).weights_sha256)
        assert [(e["ok"], e["failed"], e["loss"], e["clients"]) for e in events if e["event"] == "round"] == [
            (4, 0, None, {})
        ] * 2
    assert len(set(found)) == 1


def test_the_server_receives_no_float_and_no_vector_that_is_not_uniform() -> None:
    """Chi-square of the top byte of every word: 255 degrees of freedom, so beyond 400 with probability below 1e-8.

    Encoded without a mask, moves this small would nearly all have a top byte of 0 or 255.
    """
    run = Run(tiny(*SECURE, "federation.secure.clip=100"))
    run.round()
    kinds = [kind for kind, _ in run.crew.replies]
    assert kinds == ["query.advertise"] * 4 + ["query.share"] * 4 + ["train"] * 4 + ["query.unmask"] * 4
    for kind, reply in run.crew.replies:
        arrays = [array.numpy() for record in reply.content.array_records.values() for array in record.values()]
        assert len(arrays) == (kind == "train")
        figures = [dict(record) for record in reply.content.metric_records.values()]
        assert figures == ([{"num-examples": 1}] if kind == "train" else [])
        for words in arrays:
            assert words.dtype == np.uint32
            assert words.shape == (sum(run.before[name].size for name in run.names),)
            counts = np.bincount(words >> 24, minlength=256)
            assert np.sum((counts - len(words) / 256) ** 2) / (len(words) / 256) < 400


@pytest.mark.parametrize("stage", ["advertise", "share", "train"])
def test_a_client_lost_before_its_vector_came_is_named_and_the_sum_is_that_of_the_others(
    moves: dict[int, Arrays], stage: str
) -> None:
    run = Run(tiny(*SECURE, TIGHT), lost((2, stage)))
    outcome = run.round()
    assert (outcome.counted, outcome.replied) == (True, 3)
    assert [failure.client for failure in outcome.failures] == [2]
    check_moved(run, outcome, clipped_mean(moves, (0, 1, 3), 0.05, 3), quantisation_bound(0.05, 4, 3) / 3)


def test_a_client_whose_training_fails_is_lost_to_the_sum_of_the_others(
    moves: dict[int, Arrays], monkeypatch: pytest.MonkeyPatch
) -> None:
    plainly = client_app.local_update

    def local_update(trainer: Any, images: Any, shared: Any, extra: Any, state: Any, round: int) -> Any:
        if state.client == 1:
            raise ValueError("no luck")
        return plainly(trainer, images, shared, extra, state, round)

    monkeypatch.setattr(client_app, "local_update", local_update)
    run = Run(tiny(*SECURE, TIGHT))
    outcome = run.round()
    assert [str(failure) for failure in outcome.failures] == ["client 1, round 1, training: ValueError: no luck"]
    check_moved(run, outcome, clipped_mean(moves, (0, 2, 3), 0.05, 3), quantisation_bound(0.05, 4, 3) / 3)


def test_a_client_lost_after_its_vector_came_is_in_the_sum(moves: dict[int, Arrays]) -> None:
    run = Run(tiny(*SECURE, TIGHT), lost((0, "unmask")))
    outcome = run.round()
    assert (outcome.replied, [failure.client for failure in outcome.failures]) == (4, [0])
    check_moved(run, outcome, clipped_mean(moves, range(4), 0.05, 4), quantisation_bound(0.05, 4) / 4)


def test_a_reply_of_another_shape_type_or_client_is_refused_and_its_sender_lost() -> None:
    def change(request: Request, reply: Message) -> Message | None:
        arrays = reply.content.array_records.get("arrays")
        if request.client == 3 and arrays is not None:
            arrays["masked"] = type(arrays["masked"])(arrays["masked"].numpy().astype(np.float32))
        return None

    outcome = Run(tiny(*SECURE), change).round()
    (failure,) = outcome.failures
    assert (failure.client, failure.stage) == (3, "reply")
    assert "masked is float32" in failure.error
    assert outcome.replied == 3


def test_keys_of_another_identity_are_refused_once_a_client_is_known() -> None:
    run = Run(tiny(*SECURE))
    assert run.round(1).failures == ()
    first = min(run.grid.get_node_ids())
    run.grid._contexts[first].state.pop("kept.identity")
    (failure,) = run.round(2).failures
    assert "the keys of client 0 are not signed by its registered identity" in failure.error


@pytest.mark.parametrize("stage", ["advertise", "share", "train", "unmask"])
def test_below_the_threshold_there_is_no_sum_and_the_weights_stay_bit_for_bit(stage: str) -> None:
    run = Run(tiny(*SECURE, "federation.max_skipped=1"), lost((0, stage), (3, stage)))
    outcome = run.round()
    assert not outcome.counted
    assert (outcome.standing.skipped, len(outcome.failures)) == (1, 2)
    assert all(np.array_equal(outcome.shared[name], run.before[name]) for name in run.before)


def test_too_many_rounds_without_a_sum_end_the_run_with_the_reason() -> None:
    words = "2 of 4 clients answered at the stage 'mask', and 3 are needed; no sum is made; the first failure: client 0"
    with pytest.raises(TooFewClientsError, match=words):
        Run(tiny(*SECURE), lost((0, "train"), (3, "train"))).round()


def test_more_lost_than_the_experiment_allows_is_not_unmasked() -> None:
    run = Run(tiny(*SECURE, "federation.max_lost=0.2", "federation.max_skipped=1"), lost((0, "train")))
    assert not run.round().counted
    assert "query.unmask" not in [kind for kind, _ in run.crew.replies]


@pytest.mark.parametrize("rule", ["median", "krum", "trimmed-mean"])
def test_robust_rules_are_refused_because_they_would_see_nothing(rule: str) -> None:
    with pytest.raises(
        ConfigError, match=f"hides single updates from the server, and federation.rule '{rule}' adds up"
    ):
        _ = Site(tiny(*SECURE, f"federation.rule={rule}")).trainer


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("federation.clients_per_round=2",), "federation.secure with cohorts of 2 clients: it takes 3"),
        (("partition.clients=2",), "federation.secure with cohorts of 2 clients: it takes 3"),
        (("federation.secure.threshold=2",), "threshold = 2 of cohorts of 4; it must be 3 to 4"),
        (("federation.secure.threshold=5",), "threshold = 5 of cohorts of 4; it must be 3 to 4"),
        (("federation.norm=average",), "federation.secure covers trained parameters, and .* running statistics"),
        (("federation.rule=fedbn",), "under federation.rule 'fedbn' clients keep .* tensors of their own"),
        (("federation.rule=scaffold",), "hides single updates from the server, and federation.rule 'scaffold' .*sends"),
        (("federation.accept.norm=3",), "federation.accept.norm and norm_ratio bound the move of each client"),
        (("federation.accept.norm_ratio=3",), "federation.accept.norm and norm_ratio bound the move of each client"),
        (("privacy=local",), "privacy 'local' and federation.secure do not go together"),
        (("privacy={name='client-level', quantile=0.5}",), "privacy.quantile adapts the clip norm"),
        (("privacy={name='client-level', population=99}",), "privacy.population simulates"),
    ],
)
def test_what_needs_more_than_a_sum_is_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _ = Site(tiny(*SECURE, *overrides)).trainer


def test_a_server_optimiser_works_on_the_sum() -> None:
    assert Run(tiny(*SECURE, "federation.rule=fedadam")).round().counted


@pytest.mark.parametrize(("gone", "survivors"), [((), 4), ((2,), 3)])
def test_the_noise_of_the_mean_is_that_of_the_survivors_and_never_less_than_accounted_for(
    moves: dict[int, Arrays], gone: tuple[int, ...], survivors: int
) -> None:
    """Per coordinate z C sqrt(k / t) / m: 2 * 0.05 * sqrt(k / 3) / 4, with k = 4, 3 of m = 4; t = 3.

    The network has more than 3,000 trained numbers, so the estimate is within 4 / sqrt(2 * 3000) = 5 %.
    """
    run = Run(tiny(*NOISY), lost(*((client, "train") for client in gone)))
    outcome = run.round()
    mean = clipped_mean(moves, (client for client in range(4) if client not in gone), 0.05, 4)
    noise = np.concatenate(
        [(outcome.shared[name] - run.before[name].astype(np.float64) - mean[name]).ravel() for name in run.names]
    )
    assert len(noise) > 3000
    accounted = 2.0 * 0.05 / 4
    assert noise.std() == pytest.approx(accounted * np.sqrt(survivors / 3), rel=0.05)
    assert noise.std() > accounted * 0.95
    assert abs(noise.mean()) < 5 * accounted / np.sqrt(len(noise)) * np.sqrt(4 / 3)


def test_no_two_clients_add_the_same_noise_and_secret_noise_is_never_the_same_twice() -> None:
    def vectors(*overrides: str) -> list[np.ndarray]:
        experiment = tiny(*NOISY, *overrides)
        masking, still = Masking(experiment, mechanism_of(experiment)), {"w": np.zeros(500, np.float32)}
        terms = masking.terms("run", 1, 4, 500)
        return [masking.vector(terms, client, still, still, ["w"]) for client in (0, 1, 0)]

    first, other, again = vectors()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    first, other, again = vectors("privacy.seeded=false")
    assert not np.array_equal(first, again)


def test_a_vector_that_is_longer_than_the_terms_allow_is_scaled_down_and_noise_fits() -> None:
    experiment = tiny(*NOISY)
    masking = Masking(experiment, mechanism_of(experiment))
    still, length = {"w": np.zeros(10, np.float32)}, 10
    terms = masking.terms("run", 1, 4, length)
    norms = [np.linalg.norm(masking.vector(terms, client, still, still, ["w"])) for client in range(50)]
    assert max(norms) < terms.clip
    short = Masking(tiny(*SECURE), mechanism_of(tiny(*SECURE))).terms("run", 1, 4, length)
    assert short.clip == 1.0
    far = {"w": np.full(10, 1e6, np.float32)}
    assert np.linalg.norm(masking.vector(terms, 0, still, far, ["w"])) <= terms.clip


def test_each_client_that_is_asked_is_charged_in_full_and_the_guarantee_says_what_it_is_not(tmp_path: Path) -> None:
    experiment = tiny(*NOISY, "privacy.seeded=false", "federation.rounds=2")
    folder = RunFolder.create(tmp_path / "run", experiment)
    report = run_local(Site(experiment), folder, lambda event: None, 1)
    ledger = Ledger(folder.ledger)
    assert [(entry.round, entry.account, entry.charge.noise, entry.charge.rate) for entry in ledger.entries] == [
        (round, str(client), 2.0, 1.0) for round in (1, 2) for client in range(4)
    ]
    said = report.privacy
    assert said["label"] == ""
    assert said["epsilon"] == pytest.approx(said["planned"]) == pytest.approx(ledger.epsilon(1e-5))
    assert "server, which follows the protocol" in said["adversary"]
    assert "clients that drop out are allowed for down to the threshold" in said["limits"]
    assert "pool what they know" in said["limits"]
    lines = [line for line in read_manifest(folder.manifest) if "rows" in line]
    (kinds,) = [[(row["kind"], row["name"], row["dtype"]) for row in line["rows"]] for line in lines]
    assert kinds[0] == ("masked", "masked", "uint32")
    assert [kind[1:] for kind in kinds[1:]] == [("num-examples", "int")]


def test_a_cohort_that_comes_out_too_small_is_charged_and_not_asked(tmp_path: Path) -> None:
    """Cohorts of 4 clients, each drawn with probability 3 / 4: below 3 in about a quarter of the rounds."""
    experiment = tiny(*NOISY, "federation.clients_per_round=3", "federation.sampling=poisson", "federation.rounds=8")
    folder = RunFolder.create(tmp_path / "run", experiment)
    site, crew = Site(experiment), Meddling()
    grid = LocalGrid(4, crew)
    events: list[Mapping[str, Any]] = []
    report: Report = serve(lambda: Clients(grid, sorted(grid.get_node_ids()), 1), site, folder, events.append)
    rounds = [event for event in events if event["event"] == "round"]
    drawn = [sum(e.round == event["round"] for e in Ledger(folder.ledger).entries) for event in rounds]
    assert min(drawn) < 3 <= max(drawn)
    assert [event["counted"] for event in rounds] == [count >= 3 for count in drawn]
    assert all(event["ok"] == (event["bytes_down"] > 0) * count for event, count in zip(rounds, drawn, strict=True))
    assert report.rounds == 8


def test_the_noise_for_an_epsilon_counts_on_no_sampling() -> None:
    mechanism = mechanism_of(tiny(*SECURE, "privacy={name='client-level', target_epsilon=4.0}"))
    assert isinstance(mechanism, DistributedNoise)
    few, many = (Schedule(clients, 10, 5, 8, 1) for clients in (10, 1000))
    assert mechanism.settled(few) == mechanism.settled(many)
