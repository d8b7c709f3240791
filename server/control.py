"""Start a run on this machine's SuperLink; names of Flower that are private are pinned to flwr 1.41."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import httpx
from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext

from fedmetric.deployment.bundle import write_bundle
from fedmetric.deployment.office import Office
from fedmetric.errors import FedmetricError
from fedmetric.server.gate import CONTROL_HEADER


class Secret:
    """Put the control secret into every request."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Add the header."""
        context.request.headers[CONTROL_HEADER] = self._secret
        return call_next(context)


def start_app(office: Office, port: int, config: Mapping[str, str]) -> int:
    """Submit the bundle that names the installed fedmetric, with a run's configuration, and return the run's number.

    Raises:
        FedmetricError: the SuperLink refused.
    """
    client = ControlHttpClient.from_server_address(
        f"127.0.0.1:{port}",
        insecure=False,
        root_certificates=office.authority.read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="CLI"), Secret(office.control_secret.read_text())],
    )
    with tempfile.TemporaryDirectory() as folder:
        content = build_fab_from_disk(write_bundle(Path(folder)).parent)
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
    try:
        answer = client.StartRun(
            StartRunRequest(fab=fab_to_proto(fab), override_config=user_config_to_proto(dict(config)))
        )
    except httpx.HTTPError as error:
        raise FedmetricError(f"the SuperLink did not take the run: {error}") from error
    finally:
        client.close()
    if not answer.run_id:
        raise FedmetricError("the SuperLink did not take the run, and gave no reason")
    return int(answer.run_id)
