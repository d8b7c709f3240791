"""Engines, presets and benchmarks."""
