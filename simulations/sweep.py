"""Many runs from one file: every row and every combination of values on the axes, resumable, some at a time.

A sweep's file:

    base = "omniglot-alphabets"            # a preset or a TOML file
    set = ["federation.rounds=20"]         # for all cells
    axes = { objective = ["simclr", { name = "byol", momentum = 0.98 }], "federation.rule" = ["fedavg", "fedema"] }
    rows = [{ name = "plain" }, { name = "small batches", set = ["local.batch_size=32"] }]
    seeds = [1, 2, 3]
    folds = 5                              # cross-validation over classes; without, what the experiments say
    report = false                         # whether the cells may be measured on the held-out classes

Settings are chosen on classes kept from training (`evaluation.on = "validation"`). Held-out classes are out of reach of
a sweep, unless its file says with `report = true` that nothing is chosen by its table; a search never reaches them.

Each cell is an ordinary run in a folder of its own. A cell that is done is not run again, one that was interrupted is
resumed, and a combination that cannot work is listed with the reason.
"""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedmetric.config import Experiment, load_experiment
from fedmetric.errors import ConfigError
from fedmetric.registry import nearest
from fedmetric.runs import RunFolder
from fedmetric.simulations.search import Dimension, Search
from fedmetric.training.start import with_the_hash_of_its_start

SWEEPS = Path(__file__).parent / "sweeps"
POLL_SECONDS = 1.0
Value = str | int | float | bool | dict[str, Any]


class Row(BaseModel):
    """A named group of overrides."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    set: tuple[str, ...] = ()


class Sweep(BaseModel):
    """The contents of a sweep's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    base: str
    set: tuple[str, ...] = ()
    axes: dict[str, tuple[Value, ...]] = Field(default_factory=dict)
    rows: tuple[Row, ...] = (Row(name=""),)
    seeds: tuple[int, ...] = Field((1,), min_length=1)
    folds: int = Field(0, ge=0)
    report: bool = False
    search: Search | None = None
    space: dict[str, Dimension] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _a_search_has_a_space_and_no_report(self) -> Self:
        if bool(self.space) != (self.search is not None):
            raise ValueError("a search needs both tables, search and space")
        if self.search and (self.axes or self.rows[0].name):
            raise ValueError("a search draws its own cells; leave out axes and rows, or leave out search")
        if self.search and self.report:
            raise ValueError("a search never sees the held-out classes; leave out report")
        if self.search and self.search.prune and self.search.sampler == "random":
            raise ValueError("search.prune needs a sampler that compares trials; use sampler = 'optuna'")
        if self.search and self.search.prune and len(self.seeds) * max(1, self.folds) > 1:
            raise ValueError("search.prune stops a trial by its only run; use one seed and no folds, or prune = false")
        return self

    @property
    def summary(self) -> str:
        """Say in one line what the sweep compares."""
        if self.search:
            return f"search of {self.search.trials} trials over {', '.join(self.space)} on {self.base}"
        named = len(self.rows) if self.rows[0].name else 0
        parts = ([f"{named} rows"] if named else []) + [f"{len(values)} x {key}" for key, values in self.axes.items()]
        return f"{', '.join(parts) or 'one run'} on {self.base}, {len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        labels: the row's name, if it has one, and the name of the value on every axis.
        seed: of the experiment.
        fold: of a cross-validation, from 0; None without.
        experiment: what to run; None where the combination cannot work.
        problem: why it cannot.
    """

    labels: tuple[str, ...]
    seed: int
    experiment: Experiment | None
    problem: str = ""
    fold: int | None = None

    @property
    def folder(self) -> str:
        """The name of the run's folder."""
        fold = [] if self.fold is None else [f"fold-{self.fold}"]
        return re.sub(r"[^A-Za-z0-9.=_-]+", "-", "--".join([*self.labels, f"seed-{self.seed}", *fold]))


Stop = Callable[[Cell], bool]


def sweep_names() -> list[str]:
    """List the sweeps that come with fedmetric."""
    return sorted(path.stem for path in SWEEPS.glob("*.toml"))


def load_sweep(source: Path) -> Sweep:
    """Read a sweep's file, or one that comes with fedmetric by its name.

    Raises:
        ConfigError: it cannot be read, or a key is wrong.
    """
    shipped = SWEEPS / f"{source}.toml"
    path = shipped if not source.exists() and shipped.is_file() else source
    if not path.exists():
        known = sweep_names()
        raise ConfigError(f"no file and no sweep '{source}'{nearest(str(source), known)}; sweeps: {', '.join(known)}")
    try:
        return Sweep.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path}: not a sweep: {error}") from error


def with_seeds(sweep: Sweep, count: int) -> Sweep:
    """Return a sweep with seeds 1 to `count`.

    Raises:
        ConfigError: it cannot have several.
    """
    try:
        return Sweep.model_validate(sweep.model_dump() | {"seeds": tuple(range(1, count + 1))})
    except ValidationError as error:
        raise ConfigError(f"--seeds {count}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def cells_of(sweep: Sweep) -> list[Cell]:
    """Build every cell: rows, then axes in their order, then seeds; two cells of one name are refused.

    Raises:
        ConfigError: an override is wrong in every cell, or two cells have the same name.
    """
    found = []
    for row, values in itertools.product(sweep.rows, itertools.product(*sweep.axes.values())):
        overrides = [f"{key}={inline(value)}" for key, value in zip(sweep.axes, values, strict=True)]
        labels = tuple(label for label in (row.name, *map(label_of, values)) if label)
        found += cells_with(sweep, labels, [*overrides, *row.set])
    if found and all(cell.experiment is None for cell in found):
        raise ConfigError(f"no cell of the sweep can be run; the first: {found[0].problem}")
    names = [cell.folder for cell in found]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"several cells are called {min(doubled)}; give their values or rows different names")
    first: dict[str, str] = {}
    for cell in found:
        if cell.experiment and (twin := first.setdefault(cell.experiment.fingerprint(), cell.folder)) != cell.folder:
            raise ConfigError(f"{twin} and {cell.folder} are the same experiment; what tells them apart has no effect")
    check_not_chosen_on_held_out(sweep, found)
    return found


def cells_with(sweep: Sweep, labels: tuple[str, ...], overrides: Sequence[str]) -> list[Cell]:
    """Build the cells of one setting: one for each seed and fold.

    Raises:
        ConfigError: an override is undone by a later one.
    """
    for position, override in enumerate(overrides):
        check_kept([override], overrides[position + 1 :], "a later axis or row says")
    found = []
    for seed, fold in itertools.product(sweep.seeds, range(sweep.folds) if sweep.folds else (None,)):
        folds = [] if fold is None else [
            "validation_classes=0", f"validation_folds={sweep.folds}", f"validation_fold={fold}",
            "evaluation.on=validation",
        ]  # fmt: skip
        given = [*folds, f"seed={seed}"]
        asked = [*sweep.set, *overrides]
        check_kept(asked, given, "the sweep's seeds and folds say")
        try:
            experiment = load_experiment(sweep.base, [*asked, *given])
            found.append(Cell(labels, seed, with_the_hash_of_its_start(experiment), fold=fold))
        except ConfigError as error:
            found.append(Cell(labels, seed, None, str(error), fold))
    return found


def check_kept(overrides: Sequence[str], later: Sequence[str], who: str) -> None:
    """Refuse overrides that later ones undo: of the same key, of a table around it, or of the method it belongs to.

    Raises:
        ConfigError: names both.
    """
    for override, other in itertools.product(overrides, later):
        key, undoing = (text.partition("=")[0].strip().split(".") for text in (override, other))
        around = undoing[:-1] if undoing[-1] == "name" and len(undoing) > 1 else undoing
        if key[: len(around)] == around and override.replace(" ", "") != other:
            raise ConfigError(
                f"{override} has no effect: {who} {other}; leave one out, or put a method before its options"
            )


def check_not_chosen_on_held_out(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """Refuse a sweep that would compare settings on the classes that are reported.

    Raises:
        ConfigError: names the cell and what to change.
    """
    for cell in cells:
        if cell.experiment and cell.experiment.evaluation.on == "held-out" and not sweep.report:
            raise ConfigError(
                f"{cell.folder} would be measured on the held-out classes, and settings that are compared there are "
                "tuned on them; add to the file: set = ['evaluation.on=validation', 'validation_classes=0.2'], or "
                "folds = 5, or, where nothing is chosen by the table, report = true"
            )


def check_classes_untouched(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """Refuse to train or validate on what the base holds out, or to start from weights that saw it; reads the data.

    Classes are known by their names, and images by their pixels, which a copy of them under other names has too.

    Raises:
        DataError: names the classes.
    """
    from fedmetric.data.base import check_disjoint, check_images_disjoint, check_unseen
    from fedmetric.data.cache import load_dataset
    from fedmetric.training.start import classes_of_start

    if sweep.report:
        return
    base = load_experiment(sweep.base)
    experiments = [cell.experiment for cell in cells if cell.experiment]
    others = {experiment.data for experiment in experiments if experiment.data != base.data}
    starts = {experiment.start for experiment in experiments if experiment.start.weights}
    if not others and not starts:
        return
    held_out = load_dataset(base.data, base.image_size).held_out
    said = f"{sweep.base}, which the sweep tunes"
    for start in starts:
        check_unseen(classes_of_start(start) or (), held_out.present_classes(), f"start.weights = {start.weights}")
    for data in others:
        used = load_dataset(data, base.image_size).train
        check_disjoint(used.present_classes(), held_out.present_classes(), said)
        check_images_disjoint(used, held_out, said)


def label_of(value: Value) -> str:
    """Return what a value is called: its `label`, else its `name` with the options that stand beside it."""
    if not isinstance(value, dict):
        return str(value)
    options = [f"{key}={option}" for key, option in value.items() if key not in ("name", "label")]
    return str(value.get("label") or " ".join([str(value.get("name", "")), *options]))


def inline(value: Any) -> str:
    """Write a value as inline TOML; a table's `label` is left out."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(item)}" for key, item in value.items() if key != "label") + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


def run_sweep(
    cells: Sequence[Cell], out: Path, jobs: int, tell: Callable[[str], None], stop: Stop | None = None
) -> list[Cell]:
    """Run what is not done yet, `jobs` cells at a time, each in a process of its own with one worker.

    Args:
        cells: of `cells_of`.
        out: folder that holds the cells' folders.
        jobs: processes at a time.
        tell: called with one line for each cell that ends.
        stop: asked every second for each running cell whether to end it; such a cell is marked and not run again.

    Returns:
        The cells whose run failed; the end of its messages is in `<cell>.log`.
    """
    out.mkdir(parents=True, exist_ok=True)
    waiting = [cell for cell in cells if cell.experiment is not None and not is_over(out, cell)]
    tell(f"{len(cells)} cells, {len(waiting)} to run")
    failed = []
    running: set[subprocess.Popen[bytes]] = set()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            results = pool.map(lambda cell: (cell, _run(cell, out, running, stop)), waiting)
            for number, (cell, code) in enumerate(results, start=1):
                tell(f"{number}/{len(waiting)} {cell.folder}: {'done' if code == 0 else f'failed, exit code {code}'}")
                if code:
                    failed.append(cell)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.send_signal(signal.SIGTERM)  # each writes a checkpoint
            raise
    return failed


def _run(cell: Cell, out: Path, running: set[subprocess.Popen[bytes]], stop: Stop | None) -> int:
    assert cell.experiment is not None
    folder, file = out / cell.folder, out / f"{cell.folder}.toml"
    if folder.exists():
        words = ["resume", str(folder)]
    else:
        file.write_text(cell.experiment.to_toml(), encoding="utf-8")
        words = ["run", str(file), "--out", str(folder)]
    with (out / f"{cell.folder}.log").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-m", "fedmetric.cli.app", *words, "--workers", "1"]
        with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
            running.add(process)
            code = _wait(process, cell, out, stop)
            running.discard(process)
            return code


def _wait(process: subprocess.Popen[bytes], cell: Cell, out: Path, stop: Stop | None) -> int:
    while True:
        try:
            return process.wait(None if stop is None else POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if stop is not None and stop(cell):
                process.send_signal(signal.SIGTERM)
                process.wait()
                stopped_mark(out, cell).touch()
                return 0


def stopped_mark(out: Path, cell: Cell) -> Path:
    """Return the file that says that a cell was ended early, for good."""
    return out / f"{cell.folder}.stopped"


def is_over(out: Path, cell: Cell) -> bool:
    """Return whether a cell is done or was ended early."""
    return summary_of(out, cell) is not None or stopped_mark(out, cell).exists()


def summary_of(out: Path, cell: Cell) -> dict[str, Any] | None:
    """Return the summary of a cell that is done.

    Raises:
        ConfigError: the folder holds another experiment: the sweep's file was changed after it ran.
    """
    place = out / cell.folder
    if cell.experiment is None or not place.is_dir():
        return None
    folder = RunFolder.open(place)
    if folder.experiment.fingerprint() != cell.experiment.fingerprint():
        raise ConfigError(
            f"{place} holds another experiment than the sweep now asks for; remove it or choose another --out"
        )
    summary = folder.summary()
    return summary if summary and summary["status"] == "done" else None
