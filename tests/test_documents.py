"""Code blocks of README and CONTRIBUTING do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from fedmetric.config import parse_experiment
from fedmetric.config.catalogue import markdown
from fedmetric.config.experiment import Evaluation
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.reranking import RERANKERS
from fedmetric.evaluation.tasks import TASKS
from fedmetric.federation.drift import distance
from fedmetric.federation.memory import ClientState
from fedmetric.simulations.run_search import cells_of_trial
from fedmetric.simulations.search import sampler_of
from fedmetric.simulations.sweep import Sweep
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site
from oracles.geometry import clusters
from tiny import tiny

ROOT = Path(__file__).parent.parent


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_commands_and_the_python_of_the_readme_run(tmp_path: Path) -> None:
    """All shell blocks in order, then the Python block, in one empty folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    how = {
        "cwd": tmp_path,
        "env": {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        "capture_output": True,
        "text": True,
    }
    script = "set -e\n" + "\n".join(blocks("README.md", "bash"))
    shell = subprocess.run(["bash", "-c", script], check=False, **how)  # type: ignore[call-overload]
    assert shell.returncode == 0, shell.stderr
    assert "Recall@1" in shell.stdout
    (tmp_path / "block.py").write_text("\n".join(blocks("README.md", "python")))
    python = subprocess.run([sys.executable, "block.py"], check=False, **how)  # type: ignore[call-overload]
    assert python.returncode == 0, python.stderr
    assert python.stdout.strip() == "torch.Size([8, 64])"


def test_the_experiments_of_the_readme_are_valid() -> None:
    experiment, search = blocks("README.md", "toml")
    assert parse_experiment(experiment, "README").federation.rule.name == "fedprox"
    wanted = Sweep.model_validate(tomllib.loads(search))
    assert wanted.search is not None
    drawn = sampler_of(wanted.search, wanted.space).draw(0, ())
    cells = cells_of_trial(wanted, 0, drawn)
    assert [cell.fold for cell in cells] == [0, 1, 2, 3, 4]
    assert all(cell.experiment and cell.experiment.evaluation.on == "validation" for cell in cells)


def test_the_guides_objective_is_complete_in_40_lines_and_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, _ = blocks("CONTRIBUTING.md", "python")
    assert len(block.splitlines()) <= 40
    (tmp_path / "simsiam_of_the_guide.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    experiment = tiny("objective=simsiam_of_the_guide:SimSiamSmall")
    site = Site(experiment)
    trainer = site.trainer
    shared = trainer.embedder.shared()
    assert any(name.startswith("objective.predictor.") for name in shared)
    losses = []
    for round in (1, 2):
        update = local_update(trainer, site.images_of(0), shared, {}, ClientState(0), round)
        shared = update.arrays
        losses.append(update.metrics["loss"])
    assert losses[1] < losses[0] < 0
    assert all(np.isfinite(array).all() for array in shared.values())


def test_the_guides_objective_would_be_found_by_the_registry(tmp_path: Path) -> None:
    from fedmetric.registry import _scan

    path = tmp_path / "simsiam_small.py"
    path.write_text(blocks("CONTRIBUTING.md", "python")[0])
    (entry,) = _scan("objective", "fedmetric.objectives.simsiam_small", path)
    assert entry.name == "simsiam-small"
    assert [parameter.name for parameter in entry.parameters] == ["hidden_dim", "output_dim"]
    assert entry.parameters[0].description.startswith("width of the projector")


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "docs/architecture.md",
        "docs/results.md",
        "docs/evaluation.md",
        "docs/privacy.md",
        "CONTRIBUTING.md",
    ],
)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    assert "@@" not in (ROOT / document).read_text(encoding="utf-8"), "a figure is missing"
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text(encoding="utf-8")):
        assert ((ROOT / document).parent / target).exists(), target


def test_the_guides_rule_runs_and_keeps_every_client_within_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, block = blocks("CONTRIBUTING.md", "python")
    (tmp_path / "rule_of_the_guide.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    site = Site(tiny('federation.rule={name="rule_of_the_guide:ClippedUniform", bound=0.01}'))
    before = site.trainer.embedder.shared()
    update = local_update(site.trainer, site.images_of(0), before, {}, ClientState(0), 1)
    parameters = [name for name in before if name in site.trainer.embedder.layout.parameters]
    assert distance(before, update.arrays, parameters) == pytest.approx(0.01, rel=1e-3)
    assert site.trainer.rule.weight(update) == 1.0


def test_the_page_of_methods_is_what_the_command_prints() -> None:
    assert (ROOT / "docs" / "methods.md").read_text(encoding="utf-8") == markdown()


def test_the_page_of_scores_names_every_task_and_every_score() -> None:
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    images = Labelled(*clusters(12, 8, 6, 0, spread=1.0))
    rows = {line.split("|")[1].strip(" `*"): line for line in text.splitlines() if line.startswith("| `")}
    assert set(rows) == set(TASKS)
    for name, task in TASKS.items():
        settings = Evaluation(few_shot=("5w1s",), episodes=2)
        words = re.findall("`([^`]+)`", rows[name])
        joined = {*words, *(first + second for first in words for second in words)}  # knn_ and accuracy, for example
        assert set(task.measure(images, settings, 1, "cosine")) <= joined
    assert all(f'"{method}"' in text for method in RERANKERS)
