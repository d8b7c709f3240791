"""A client as a plain script, for people who start Flower's own commands: `python -m fedmetric.clients --help`.

What is not named here is handed to Flower's SuperNode as it stands. 'fedmetric join' does the same with an invite,
and makes the key by itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from fedmetric.clients.premises import DATA_PATH, STATE_DIR
from fedmetric.clients.supernode import PLAIN
from fedmetric.deployment.processes import environment

USAGE = """\
python -m fedmetric.clients --data DIR --state DIR --superlink HOST:PORT --root-certificates CA.pem \\
           --auth-supernode-private-key KEY [any other argument of flower-supernode]"""


def main() -> None:
    """Put a folder of images behind a SuperNode, with the default limits."""
    parser = argparse.ArgumentParser(prog="fedmetric.clients", usage=USAGE, description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of this client's images")
    parser.add_argument("--state", type=Path, required=True, help="folder for what is kept between rounds")
    given, rest = parser.parse_known_args()
    if not given.data.is_dir():
        parser.error(f"--data {given.data} is no folder")
    if "--insecure" in rest:
        parser.error("--insecure is not for images that may not leave; give --root-certificates and a key")
    if "--node-config" in rest:
        parser.error("--node-config is made here, of --data and --state")
    config = f'{DATA_PATH}="{given.data.absolute()}" {STATE_DIR}="{given.state.absolute()}"'
    node = [sys.executable, "-m", "fedmetric.clients.supernode", PLAIN]
    os.execve(sys.executable, [*node, "--node-config", config, *rest], environment(given.state.absolute()))


if __name__ == "__main__":
    main()
