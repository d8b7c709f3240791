"""What federating costs: rounds through messages, aggregation and engine against the bare loop doing the same steps."""

from __future__ import annotations

import torch

from fedmetric.clients.app import app
from fedmetric.config import parse_experiment
from fedmetric.registry import views
from fedmetric.sampling.shuffled import Shuffled
from fedmetric.server.exchange import Clients
from fedmetric.server.loop import plan_of
from fedmetric.server.rounds import run_round
from fedmetric.simulations.benchmarks.pairs import Pair, time_pairs
from fedmetric.simulations.engines.grid import LocalGrid
from fedmetric.simulations.engines.inline import InlineWorkers
from fedmetric.training.batches import batches
from fedmetric.training.local_update import one_thread
from fedmetric.training.optimiser import build_optimiser, learning_rate
from fedmetric.training.site import Site

ROUNDS = 2


def federation_overhead(pairs: int) -> list[Pair]:
    """Compare the embedded experiment in process with a plain training loop over the same batches, one thread each."""
    experiment = parse_experiment('name = "benchmark"', overrides=[f"federation.rounds={ROUNDS}", "data.copies=2"])
    site = Site(experiment)
    parts = [site.images_of(client) for client in range(site.num_clients)]
    steps: dict[str, int] = {}

    def federated() -> None:
        crew = InlineWorkers(app)
        grid = LocalGrid(site.num_clients, crew)
        clients = Clients(grid, sorted(grid.get_node_ids()), crew.window)
        plan = plan_of(site)
        shared = site.trainer.embedder.shared()
        state, examples = plan.rule.init(shared), 0
        for round in range(1, ROUNDS + 1):
            outcome = run_round(clients, plan, round, shared, state)
            shared, state, examples = outcome.shared, outcome.state, examples + outcome.examples
        steps["federated"] = examples // experiment.local.batch_size

    def bare() -> None:
        embedder, augment, count = site.trainer.embedder, views.build(experiment.views), 0
        with one_thread():
            for round in range(1, ROUNDS + 1):
                for client, images in enumerate(parts):
                    optimiser = build_optimiser(
                        embedder, experiment.local, learning_rate(experiment.local, round, ROUNDS)
                    )
                    for batch in batches(
                        images,
                        embedder.objective,
                        augment,
                        Shuffled(),
                        experiment.local.batch_size,
                        1,
                        1,
                        round,
                        client,
                    ):
                        optimiser.zero_grad(set_to_none=True)
                        loss = embedder.loss(batch)
                        torch.autograd.backward(loss)
                        optimiser.step()
                        count += 1
        steps["bare"] = count

    pair = time_pairs("federated run / bare loop", federated, bare, pairs)
    if steps["federated"] != steps["bare"]:
        raise AssertionError(f"the two did not do the same steps: {steps}")
    return [Pair(pair.name, pair.ours, pair.other, f"{steps['bare']} steps each")]
