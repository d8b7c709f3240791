"""No mechanism: nothing is claimed but that images stay where they are."""

from __future__ import annotations

from fedmetric.privacy.base import Mechanism
from fedmetric.registry import mechanisms


@mechanisms.register("none")
class NoMechanism(Mechanism):
    """Send updates as they are."""
