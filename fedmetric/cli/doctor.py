"""`fedmetric doctor`: is everything here that a run needs? Reads versions and folders only, imports nothing heavy."""

from __future__ import annotations

import os
import shutil
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Annotated

import typer

from fedmetric.cli.arguments import DataOption, JsonOption, print_json

REQUIRED = (
    "flwr",
    "torch",
    "torchvision",
    "lightly",
    "pytorch-metric-learning",
    "scikit-learn",
    "numpy",
    "safetensors",
)
EXTRAS = {"ray": "ray", "benchmarks": "faiss"}
LAYOUTS = {
    "omniglot": ("omniglot-py", "omniglot", "images_background"),
    "mnist": ("MNIST",),
    "fashion-mnist": ("FashionMNIST",),
    "cifar10": ("cifar-10-batches-py", "cifar10-jpeg", "cifar10"),
}
LOW_DISK = 2 * 10**9


def doctor(
    data: DataOption = None,
    deployment: Annotated[Path | None, typer.Option("--deployment", "-d", help="Check a server's folder too.")] = None,
    home: Annotated[Path | None, typer.Option("--home", help="Check a site and its way to the server.")] = None,
    network: Annotated[bool, typer.Option("--network", help="List every host that is contacted, and stop.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check versions, extras, cores, disk and data folders; exit 1 when something needed is missing or wrong."""
    if network:
        _network(home)
        return
    from fedmetric.data.cache import cache_root, data_root

    findings: list[tuple[str, str, str]] = [_python()]
    findings += [_package(name) for name in REQUIRED]
    findings += [_extra(extra, module) for extra, module in EXTRAS.items()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    findings.append(("ok", "cores", f"{cores} (default of --workers)"))
    findings.append(_disk(cache_root()))
    root = data_root(data)
    findings.append(
        ("ok" if root else "note", "data folder", str(root) if root else "none; set FEDMETRIC_DATA or give --data")
    )
    if root:
        held = [name for name, folders in LAYOUTS.items() if any((root / folder).is_dir() for folder in folders)]
        findings.append(("ok" if held else "note", "data sets", ", ".join(held) or "none recognised there"))
    findings += _deployed(deployment, home)
    if as_json:
        print_json([dict(zip(("status", "what", "detail"), finding, strict=True)) for finding in findings])
    else:
        for status, what, detail in findings:
            print(f"{status:<8}{what:<26}{detail}")
    if any(status in ("missing", "bad") for status, _, _ in findings):
        raise typer.Exit(1)


def _deployed(deployment: Path | None, home: Path | None) -> list[tuple[str, str, str]]:
    if not deployment and not home:
        return []
    from fedmetric.deployment.checks import check_home, check_office
    from fedmetric.deployment.home import open_home
    from fedmetric.deployment.office import open_office

    found = check_office(open_office(deployment)) if deployment else []
    if home:
        from fedmetric.clients.enrol import ask_known, hello

        site = open_home(home)
        found += check_home(site, lambda site: (hello(site), ask_known(site)))
    return [(finding.status, finding.what, finding.detail) for finding in found]


def _network(home: Path | None) -> None:
    from fedmetric.deployment.checks import hosts_contacted
    from fedmetric.deployment.home import open_home

    hosts = hosts_contacted(open_home(home)) if home else ["none: a server and a simulation contact nobody"]
    print("\n".join(hosts))


def _python() -> tuple[str, str, str]:
    return ("ok" if sys.version_info >= (3, 11) else "missing", "python", f"{sys.version.split()[0]} (3.11 or newer)")


def _package(name: str) -> tuple[str, str, str]:
    try:
        return "ok", name, metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing", name, "not installed; reinstall fedmetric"


def _extra(extra: str, module: str) -> tuple[str, str, str]:
    if util.find_spec(module) is None:
        return "note", f"extra {extra}", f"not installed; pip install 'fedmetric[{extra}]'"
    return "ok", f"extra {extra}", "installed"


def _disk(place: Path) -> tuple[str, str, str]:
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    return ("ok" if free > LOW_DISK else "low", "disk at cache", f"{free / 1e9:.1f} GB free at {place}")
