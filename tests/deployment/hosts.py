"""Several hosts on one machine: network namespaces joined by a bridge, or plain loopback where those cannot be made."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence

NUMBERS = itertools.count(1)


def can_make_namespaces() -> bool:
    """Return whether this process may make network namespaces."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        return False
    name = f"fmprobe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        return False
    subprocess.run(["ip", "netns", "del", name], check=True)
    return True


class Hosts:
    """Named hosts that reach one another, each with an address of its own where that is possible."""

    def __init__(self, names: Sequence[str]) -> None:
        self.apart = can_make_namespaces()
        self._closed = False
        self._prefix = f"fm{os.getpid()}x{next(NUMBERS)}"
        self._names = {name: number for number, name in enumerate(names)}
        if self.apart:
            self._make()

    def _make(self) -> None:
        switch = f"{self._prefix}sw"
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge0", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge0", "up")
        for name, number in self._names.items():
            space, cable = self._space(name), f"port{number}"
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", switch, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("-n", switch, "link", "set", cable, "master", "bridge0")
            _ip("-n", switch, "link", "set", cable, "up")
            _ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")

    def _space(self, name: str) -> str:
        return f"{self._prefix}h{self._names[name]}"

    def address(self, name: str) -> str:
        """Return a host's address."""
        return f"10.77.0.{self._names[name] + 1}" if self.apart else "127.0.0.1"

    def command(self, name: str, words: Sequence[str]) -> list[str]:
        """Return the words with which a command is run at a host."""
        return ["ip", "netns", "exec", self._space(name), *words] if self.apart else list(words)

    def cut(self, name: str, down: bool = True) -> None:
        """Pull a host's network cable, or put it back."""
        _ip("-n", self._space(name), "link", "set", "eth0", "down" if down else "up")

    def close(self) -> None:
        """Remove the hosts; may be called again."""
        if self.apart and not self._closed:
            self._closed = True
            for space in [*map(self._space, self._names), f"{self._prefix}sw"]:
                _ip("netns", "del", space)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
