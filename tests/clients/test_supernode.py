"""The guard before a node's apps: only the installed program runs, and Flower still has the place where it stands."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flwr.cli.build import build_fab_from_disk
from flwr.common.config import parse_config_args
from flwr.supercore.fab import Fab
from flwr.supercore.run import RunNotRunningException
from flwr.supernode import fleet_http_connection, start_client_internal
from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode

from fedmetric.clients import __main__ as script
from fedmetric.clients import supernode
from fedmetric.clients.supernode import flower_arguments, guarded, installed_app, only_installed
from fedmetric.deployment.bundle import write_bundle
from fedmetric.deployment.home import Home, settle
from fedmetric.deployment.office import found_office
from fedmetric.deployment.processes import environment


def installed(folder: Path) -> bytes:
    return build_fab_from_disk(write_bundle(folder).parent)


def fetched(content: bytes) -> Fab:
    """Fetch an app that the server hands out, through the guard; what the server says of it is never wrong."""

    def get_fab(fab_hash: str, run_id: int) -> Fab:
        assert (fab_hash, run_id) == ("said", 5)
        return Fab(installed_app(), content, {})

    return only_installed(get_fab)("said", 5)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    invite = found_office(tmp_path / "deployment", "clinics", ["::1"], 9000).invite("north")
    return settle(tmp_path / "home of north", invite, tmp_path / "images")


def test_the_installed_app_passes_and_is_the_same_bytes_wherever_it_is_built(tmp_path: Path) -> None:
    content = installed(tmp_path / "one")
    assert content == installed(tmp_path / "another")
    assert fetched(content).content == content


def test_another_program_is_refused_and_logged_though_it_claims_the_right_hash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    bundle.write_text(bundle.read_text().replace("fedmetric.clients.app:app", "evil:app"))
    (bundle.parent / "evil.py").write_text("app = None\n")
    with caplog.at_level(logging.ERROR, "flwr"), pytest.raises(RunNotRunningException):
        fetched(build_fab_from_disk(bundle.parent))
    assert "run 5 wants to run a program that is not installed here (or another version of fedmetric)" in caplog.text


@pytest.mark.parametrize("change", [lambda b: b"", lambda b: b + b"\0", lambda b: b[:-1], lambda b: b"PK garbage"])
def test_an_app_that_differs_by_a_byte_is_refused(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    with pytest.raises(RunNotRunningException):
        fetched(change(installed(tmp_path / "bundle")))


def test_another_version_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    bundle.write_text(bundle.read_text().replace("fedmetric==", "fedmetric==9."))
    with pytest.raises(RunNotRunningException):
        fetched(build_fab_from_disk(bundle.parent))


def test_the_guard_stands_in_the_fifth_place_and_changes_nothing_else(tmp_path: Path) -> None:
    given = tuple(f"function {place}" for place in range(4))

    @contextmanager
    def connection(address: str, *, insecure: bool) -> Iterator[tuple[Any, ...]]:
        assert (address, insecure) == ("server", False)
        yield (*given, lambda fab_hash, run_id: Fab("x", b"evil", {}), "pull", "push", "confirm")

    with guarded(connection, "server", insecure=False) as functions:
        assert functions[:4] == given
        assert functions[5:] == ("pull", "push", "confirm")
        with pytest.raises(RunNotRunningException):
            functions[4]("x", 5)


def test_flower_opens_its_connection_by_the_name_that_is_guarded_and_yields_get_fab_as_the_fifth() -> None:
    assert start_client_internal.http_request_response is fleet_http_connection.http_request_response
    (opened,) = (
        node
        for node in ast.walk(ast.parse(inspect.getsource(start_client_internal._init_connection)))
        if isinstance(node, ast.With)
    )
    call = opened.items[0].context_expr
    assert isinstance(call, ast.Call)
    assert ast.unparse(call.func) == "http_request_response"
    source = inspect.getsource(inspect.unwrap(fleet_http_connection.http_request_response))
    (yielded,) = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Yield))
    assert isinstance(yielded, ast.Tuple)
    assert ast.unparse(yielded.elts[4]) == "get_fab"
    assert list(map(ast.unparse, yielded.elts)).count("get_fab") == 1


def test_the_node_is_started_with_the_guard_in_place(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, seen = start_client_internal.http_request_response, []
    monkeypatch.setattr(start_client_internal, "http_request_response", plain)
    monkeypatch.setattr(supernode, "flower_supernode", lambda: seen.append(start_client_internal.http_request_response))
    monkeypatch.setattr(sys, "argv", ["fedmetric.clients.supernode", str(home.folder), "9999"])
    supernode.main()
    (used,) = seen
    assert isinstance(used, functools.partial)
    assert (used.func, used.args) == (guarded, (plain,))
    assert sys.argv == ["flower-supernode", *flower_arguments(home, 9999)]


def test_arguments_of_flowers_own_are_handed_on_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = start_client_internal.http_request_response
    monkeypatch.setattr(start_client_internal, "http_request_response", plain)
    monkeypatch.setattr(supernode, "flower_supernode", lambda: None)
    monkeypatch.setattr(sys, "argv", ["fedmetric.clients.supernode", "--", "--superlink", "a:1"])
    supernode.main()
    assert sys.argv == ["flower-supernode", "--superlink", "a:1"]


def test_the_plain_script_starts_a_quiet_node_on_a_folder(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    home.data.mkdir()
    monkeypatch.setattr(script.os, "execve", lambda *arguments: started.extend(arguments))
    words = ["--data", str(home.data), "--state", str(home.memory), "--superlink", "a:1"]
    monkeypatch.setattr(sys, "argv", ["fedmetric.clients", *words])
    script.main()
    _, command, found = started
    config = f'data-path="{home.data}" state-dir="{home.memory}"'
    assert command[3:] == ["--", "--node-config", config, "--superlink", "a:1"]
    assert found["FLWR_TELEMETRY_ENABLED"] == "0"


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["--insecure"], "--insecure is not for images that may not leave"), (["--node-config", "a=1"], "is made here")],
)
def test_the_plain_script_refuses_what_would_undo_it(
    words: list[str], reason: str, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.data.mkdir()
    given = ["fedmetric.clients", "--data", str(home.data), "--state", "s", *words]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit, match="2"):
        script.main()
    assert reason in capsys.readouterr().err


def test_flower_understands_the_arguments_as_they_are_meant(home: Home) -> None:
    parsed = _parse_args_run_supernode().parse_args(flower_arguments(home, 9999))
    assert (parsed.superlink, parsed.insecure) == ("[::1]:9000", False)
    assert parsed.root_certificates == str(home.authority)
    assert parsed.auth_supernode_private_key == str(home.key)
    assert (parsed.host, parsed.port) == ("127.0.0.1", 9999)
    assert parse_config_args([parsed.node_config]) == {"site": str(home.folder)}
    assert parsed.runtime_dependency_install is False


def test_flowers_processes_are_quiet_and_at_home_in_the_sites_folder(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    found = environment(home.folder)
    assert (found["FLWR_TELEMETRY_ENABLED"], found["FLWR_HOME"]) == ("0", str(home.folder / "flower"))
    assert found["PATH"].split(":") == [str(Path(sys.executable).parent), "/usr/bin"]
    assert hashlib.sha256(installed(home.folder / "bundle")).hexdigest() == installed_app()
