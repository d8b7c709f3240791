"""The files with which others start a server or a site."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest
import yaml

from command import Command
from fedmetric.deployment.office import found_office
from fedmetric.deployment.templates import TEMPLATES


@pytest.mark.parametrize("kind", [kind for kind in TEMPLATES if kind.startswith("systemd")])
def test_a_unit_can_be_read_and_names_the_installed_command(kind: str, command: Command, tmp_path: Path) -> None:
    found_office(tmp_path / "d", "clinics", ["server.example"])
    text = command("deploy", "template", kind, "-d", str(tmp_path / "d"), "--home", str(tmp_path / "home")).out
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(text)
    assert unit["Service"]["ExecStart"].split()[0].endswith("/fedmetric")
    assert "$" not in text
    assert str(tmp_path) in unit["Service"]["ReadWritePaths"]


def test_the_compose_file_can_be_read_and_mounts_images_read_only(command: Command, tmp_path: Path) -> None:
    text = command("deploy", "template", "compose", "--home", str(tmp_path / "home")).out
    (service,) = yaml.safe_load(text)["services"].values()
    assert service["volumes"][1].endswith(":ro")
    assert service["cap_drop"] == ["ALL"]
