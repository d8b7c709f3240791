"""Differential privacy, secure aggregation, and attacks that measure what they are worth."""
