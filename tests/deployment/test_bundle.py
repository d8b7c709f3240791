from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fedmetric.deployment.bundle import bundle_project, write_bundle


def test_the_bundle_names_installed_apps_and_holds_no_code(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "bundle")
    assert [item.name for item in path.parent.iterdir()] == ["pyproject.toml"]
    app = tomllib.loads(path.read_text())["tool"]["flwr"]["app"]
    kinds = {"serverapp": ServerApp, "clientapp": ClientApp}
    for component, kind in kinds.items():
        module, name = app["components"][component].split(":")
        assert isinstance(getattr(import_module(module), name), kind)


def test_the_bundle_needs_exactly_this_version() -> None:
    from fedmetric import __version__

    assert tomllib.loads(bundle_project())["project"]["dependencies"] == [f"fedmetric=={__version__}"]
