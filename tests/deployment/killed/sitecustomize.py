"""Arms `killer` in a process as soon as it imports the round loop; found by Python at its start through PYTHONPATH."""

import importlib.abc
import importlib.util
import os
import sys


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != "fedmetric.server.loop":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_and_arm(module):  # type: ignore[no-untyped-def]
            execute(module)
            sys.modules[name] = module
            import killer

            killer.arm()

        spec.loader.exec_module = exec_and_arm  # type: ignore[method-assign]
        return spec


if "FEDMETRIC_TEST_KILL" in os.environ:
    sys.meta_path.insert(0, _Finder())
