"""How the agent's modules travel: as one JSON text, from which they are imported, and never through a file.

Sent before all frames; ``SENT`` is what this module finds itself in.
"""

import importlib.abc
import importlib.machinery
import sys
from typing import Any, Dict

PACKAGES = ("netdyno", "netdyno.base", "netdyno.devices", "netdyno.devices.agent", "netdyno.devices.nvidia")
"""Empty there, but for the modules that were sent."""


class Sent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads modules by their texts."""

    def __init__(self, texts: Dict[str, str]) -> None:
        self._texts = texts

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """A module that was sent; None for all others."""
        if name not in self._texts and name not in PACKAGES:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=name in PACKAGES)

    def create_module(self, spec: Any) -> None:
        """As Python does it by itself."""

    def exec_module(self, module: Any) -> None:
        """Run a module's text."""
        name = module.__name__
        exec(compile(self._texts.get(name, ""), "<" + name + ">", "exec"), module.__dict__)


def run(texts: Dict[str, str], *arguments: str) -> None:
    """Be the agent, from these texts."""
    sys.meta_path.insert(0, Sent(texts))
    importlib.import_module("netdyno.devices.agent.main").main(*arguments)
