"""SimCLR."""

from fedmetric.options import Count, Positive
from fedmetric.registry import objectives


@objectives.register("simclr")
class SimCLR:
    def __init__(self, x, *, temperature: Positive = 0.5):
        pass
