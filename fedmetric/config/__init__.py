"""The experiment: one frozen, typed description of a run, read from TOML and checked before torch is loaded."""

from fedmetric.config.experiment import Experiment
from fedmetric.config.load import load_experiment, parse_experiment, preset_names, preset_path

__all__ = ["Experiment", "load_experiment", "parse_experiment", "preset_names", "preset_path"]
