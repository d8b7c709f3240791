"""Start or continue a run on an engine of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from fedmetric.config import Experiment
from fedmetric.runs import RunFolder
from fedmetric.server.checkpoints import Checkpoint
from fedmetric.server.events import Emit
from fedmetric.server.loop import Report
from fedmetric.server.supervise import Beginning, go_on, supervise
from fedmetric.simulations.engines.processes import default_workers, preload
from fedmetric.training.private import wants_settling, with_settled_privacy
from fedmetric.training.site import Site
from fedmetric.training.start import with_the_hash_of_its_start

EngineName = Literal["local", "ray"]


def start_run(
    experiment: Experiment,
    out: Path,
    listen: Emit,
    engine: EngineName = "local",
    workers: int | None = None,
    fail_on: str | None = None,
) -> dict[str, Any]:
    """Run an experiment into a new folder and return its summary.

    Args:
        experiment: what to run.
        out: folder of the run; must be empty or absent.
        listen: called with every event, after it was written to the folder.
        engine: "local" or "ray".
        workers: client processes; by default one for each core.
        fail_on: the kind of alarm that ends the run: "collapse", or None.

    Raises:
        CollapseError: the alarm that `fail_on` names went off; the last round is in a checkpoint.
        UsageError: the folder is taken.
        FedmetricError: the run failed; its summary says how.
    """
    _engine(engine)  # a missing extra is said before a folder is made
    experiment = with_the_hash_of_its_start(experiment)
    if wants_settling(experiment):
        experiment = with_settled_privacy(experiment, Site(experiment).schedule)
    return _run(Beginning(RunFolder.create(out, experiment), experiment), listen, engine, workers, fail_on)


def resume_run(
    out: Path,
    listen: Emit,
    engine: EngineName = "local",
    workers: int | None = None,
    fail_on: str | None = None,
) -> dict[str, Any]:
    """Continue a run from its newest whole checkpoint, or from the beginning when it has none; return its summary.

    The final weights have the sha256 of a run that was never interrupted.

    Raises:
        UsageError: the folder is no run, or the run is done already.
        FedmetricError: the checkpoint belongs to another experiment, or the run failed.
    """
    return _run(go_on(out), listen, engine, workers, fail_on)


def _run(
    beginning: Beginning, listen: Emit, engine: EngineName, workers: int | None, fail_on: str | None
) -> dict[str, Any]:
    crew = workers or default_workers()
    if engine == "local" and crew > 1:
        preload()

    def conduct(emit: Emit, start: Checkpoint | None) -> Report:
        return _engine(engine)(Site(beginning.experiment), beginning.folder, emit, crew, start)

    return supervise(beginning, listen, conduct, fail_on)


def _engine(name: EngineName) -> Callable[[Site, RunFolder, Emit, int, Checkpoint | None], Report]:
    if name == "ray":
        from fedmetric.simulations.engines.ray import require_ray, run_ray

        require_ray()
        return run_ray
    from fedmetric.simulations.engines.local import run_local

    return run_local
