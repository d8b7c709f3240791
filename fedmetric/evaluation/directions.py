"""Which way a figure is good."""

from __future__ import annotations

LOW_IS_GOOD = frozenset({"verification_eer", "uniformity", "alignment"})
"""Figures of which the smaller is the better; of all others it is the larger."""
