"""A federation small enough to run many times in a test: real digits at 16 pixels, a narrow Conv4."""

from __future__ import annotations

from fedmetric.config import Experiment, parse_experiment

TINY = """
name = "tiny"
image_size = 16
checkpoint_every = 1
data = "digits"
partition = { name = "iid", clients = 3 }
model = { name = "conv4", width = 8 }

[objective]
hidden_dim = 16
output_dim = 8

[federation]
rounds = 2

[evaluation]
every = 1
few_shot = ["3w1s"]
episodes = 20
"""


def tiny(*overrides: str) -> Experiment:
    """Return the experiment with overrides of the form `a.b=value`."""
    return parse_experiment(TINY, "tiny", overrides)
