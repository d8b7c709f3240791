"""Where a client's images come from: a folder of its own, as its node is configured, or a part of a whole data set."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from fedmetric.clients.limits import Limits, manifest_of
from fedmetric.config import Experiment
from fedmetric.deployment.home import open_home
from fedmetric.federation.base import Update
from fedmetric.privacy.secure.tables import num_table_bytes
from fedmetric.training.apart import OwnFolder
from fedmetric.training.site import Site
from fedmetric.wire import Answer, Request

SITE, DATA_PATH, STATE_DIR = "site", "data-path", "state-dir"
"""Keys of a node's configuration: a site's folder as 'fedmetric join' makes it; or a folder of images, and one for
what is kept between rounds, for people who start Flower's SuperNode themselves."""


@dataclass(frozen=True)
class Premises:
    """A client's place.

    Attributes:
        data: the folder of its own images; None where every client holds the whole data set and takes its part.
        memory: the folder of what it keeps between rounds; None keeps that in Flower's Context.
        limits: its terms; None where the server and the client are one person's.
        manifest: the file in which it notes what has left, one line a message; None for none.
        key: the file of its registered private key; None has it make one of its own where it needs one.
    """

    data: Path | None = None
    memory: Path | None = None
    limits: Limits | None = None
    manifest: Path | None = None
    key: Path | None = None

    @property
    def external(self) -> tuple[str, ...] | None:
        """The methods outside fedmetric that a server may name; None for any."""
        return None if self.limits is None else self.limits.external

    def site(self, request: Request) -> Site:
        """Return the site for a request; built once for each experiment that this process serves.

        Raises:
            LimitError: the server asks for more than the terms allow.
        """
        if self.limits is not None:
            self.limits.check_request(request.experiment)
        text = json.dumps(request.experiment.resolved(), sort_keys=True)
        setting = request.setting
        if self.data is None:
            return _whole(text)
        if self.limits is not None:
            self.limits.check_size(request.experiment, setting.channels)
        site = _own(text, self.data, setting.clients, setting.channels, setting.evaluated)
        if self.limits is not None:
            self.limits.check_trainer(site.trainer)
        return site


def premises_of(node_config: Mapping[str, Any]) -> Premises:
    """Return the place that a node's configuration describes.

    Raises:
        UsageError: the site's folder is damaged.
    """
    if SITE in node_config:
        home = open_home(Path(str(node_config[SITE])))
        write_log(home.log)
        return Premises(home.data, home.memory, Limits.read(home.limits), home.manifest, home.key)
    memory = node_config.get(STATE_DIR)
    if DATA_PATH in node_config:
        return Premises(Path(str(node_config[DATA_PATH])), Path(str(memory)) if memory else None, Limits())
    return Premises(None, Path(str(memory)) if memory else None)


def note_what_leaves(path: Path, round: int, leaving: Update | Answer) -> None:
    """Add a line to a site's manifest: every tensor and figure of an update that is about to leave, or every table of
    an answer in secure aggregation."""
    rows = manifest_of(leaving) if isinstance(leaving, Update) else tables_of(leaving)
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "round": round, "rows": rows}
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def tables_of(answer: Answer) -> list[dict[str, Any]]:
    """List every table of an answer: keys, signatures and sealed shares, none of which depends on images."""
    return [
        {"kind": "secure aggregation", "name": name, "shape": [len(table)], "dtype": "bytes",
         "bytes": num_table_bytes({name: table})}
        for name, table in answer.secure.items()
    ]  # fmt: skip


@lru_cache(maxsize=1)
def write_log(path: Path) -> None:
    """Write what the client says into a file too, from now on."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("fedmetric")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)


@lru_cache(maxsize=1)
def _whole(experiment: str) -> Site:
    return Site(Experiment.model_validate_json(experiment))


@lru_cache(maxsize=1)
def _own(experiment: str, data: Path, clients: int, channels: int, evaluated: tuple[str, ...]) -> Site:
    return OwnFolder(Experiment.model_validate_json(experiment), data, clients, channels, frozenset(evaluated))
