"""Lower floors import nothing above them: the layers of docs/architecture.md hold in the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "fedmetric.errors": 0, "fedmetric.seeds": 0, "fedmetric.options": 0, "fedmetric.registry": 0, "fedmetric.arrays": 0,
    "fedmetric.layout": 0, "fedmetric.components": 0, "fedmetric.durable": 0,
    "fedmetric.config": 0,
    "fedmetric.models": 1, "fedmetric.objectives": 1, "fedmetric.data": 1, "fedmetric.views": 1,
    "fedmetric.sampling": 1, "fedmetric.distances": 1, "fedmetric.miners": 1, "fedmetric.networks": 1,
    "fedmetric.federation": 1, "fedmetric.evaluation": 1, "fedmetric.privacy": 1,
    "fedmetric.training": 2, "fedmetric.wire": 2, "fedmetric.runs": 2,
    "fedmetric.deployment": 2, "fedmetric.export": 2, "fedmetric.report": 2, "fedmetric.index": 2,
    "fedmetric.clients": 3, "fedmetric.server": 3,
    "fedmetric.simulations": 4,
    "fedmetric.cli": 5,
}  # fmt: skip
FLWR_ALLOWED = ("fedmetric.wire", "fedmetric.clients", "fedmetric.server", "fedmetric.simulations")
SIBLINGS = {
    "fedmetric.models": {"fedmetric.objectives", "fedmetric.distances"},
    "fedmetric.objectives": {"fedmetric.distances", "fedmetric.miners", "fedmetric.networks"},
    "fedmetric.miners": {"fedmetric.distances"},
    "fedmetric.networks": {"fedmetric.distances"},
    "fedmetric.evaluation": {"fedmetric.data", "fedmetric.distances"},
    "fedmetric.federation": {"fedmetric.objectives"},
    "fedmetric.privacy": {"fedmetric.federation"},
}
"""Floor 1 may know a sibling's base: the embedder holds an objective, the evaluator measures an
image set, a rule sees the batch of the current step, a pair loss, its miner and the evaluator share a
distance."""


def modules() -> Iterator[tuple[str, Path]]:
    for folder, prefix in (
        ("fedmetric", "fedmetric"),
        ("clients", "fedmetric.clients"),
        ("server", "fedmetric.server"),
        ("simulations", "fedmetric.simulations"),
    ):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((prefix, *parts)).removesuffix(".__init__")
            if name != "fedmetric":
                yield name, path


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def unit(module: str) -> str | None:
    return next((name for name in FLOORS if module == name or module.startswith(f"{name}.")), None)


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value).rpartition("/")[2])
def test_a_module_imports_nothing_from_a_floor_above_it(module: str, path: Path) -> None:
    own = unit(module)
    assert own is not None, f"{module} stands on no floor"
    for imported in imports(path):
        other = unit(imported)
        if other is None or other == own:
            continue
        assert FLOORS[other] <= FLOORS[own], f"{module} imports {imported} from a floor above"
        if FLOORS[other] == FLOORS[own] == 1:
            assert other in SIBLINGS.get(own, set()), f"{module} imports its sibling {imported}"


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value).rpartition("/")[2])
def test_flower_is_imported_only_where_messages_are(module: str, path: Path) -> None:
    if any(name.split(".")[0] == "flwr" for name in imports(path)):
        assert module.startswith(FLWR_ALLOWED), f"{module} imports flwr"


def test_clients_and_server_never_import_each_other() -> None:
    for module, path in modules():
        reached = {unit(name) for name in imports(path)}
        if module.startswith("fedmetric.clients"):
            assert "fedmetric.server" not in reached
        if module.startswith("fedmetric.server"):
            assert "fedmetric.clients" not in reached


@pytest.mark.parametrize(
    "statement", ["import fedmetric.cli.app", "import fedmetric.config", "import fedmetric.registry"]
)
def test_the_command_line_and_the_checks_of_an_experiment_load_nothing_heavy(statement: str) -> None:
    heavy = "{'torch', 'torchvision', 'lightly', 'sklearn', 'flwr', 'matplotlib', 'PIL'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
