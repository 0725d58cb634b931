"""The one folder of netdyno's that stays on a machine."""

import os


def cache_folder() -> str:
    """Models by their digest, TensorRT's engines, lock files."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "netdyno")
