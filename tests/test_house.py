"""The house stands: imports run downward, nothing heavy loads early, every room is in the wheel."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("base", "devices", "exporters", "profiler", "nas", "netdyno")
HEAVY = ("torch", "tensorflow", "litert_torch", "botorch", "pymoo", "plotly", "distributed", "optuna", "jax")
EXPORTS = "import netdyno, netdyno.devices, netdyno.exporters, netdyno.profiler, netdyno.report"


def _module_of(file: Path) -> str:
    """The import name of a source file: the floors below the face stand beside it, not in it."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "netdyno" else ("netdyno", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_module_of(file): file for floor in FLOORS for file in sorted((ROOT / floor).rglob("*.py"))}


def _floor(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "netdyno"


def _imported(module: str) -> Iterator[tuple[str, bool]]:
    """Absolute names that a module imports anywhere, and whether it does so as soon as it is loaded."""
    file = SOURCES[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    at_once = {id(node) for statement in tree.body for node in _running(statement)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                member = f"{source}.{alias.name}"
                yield (member if member in SOURCES else source), id(node) in at_once


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and what runs with it when its module is loaded: no functions, no ``if TYPE_CHECKING``."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _running(child)


def _ours(module: str) -> Iterator[tuple[str, bool]]:
    return ((name, at_once) for name, at_once in _imported(module) if name.split(".")[0] == "netdyno")


@pytest.mark.parametrize("module", SOURCES)
def test_imports_run_downward(module: str) -> None:
    above = [name for name, _ in _ours(module) if FLOORS.index(_floor(name)) > FLOORS.index(_floor(module))]
    assert not above, f"{module} imports {above} from a floor above"


def test_nas_never_imports_devices() -> None:
    guilty = [m for m in SOURCES if _floor(m) == "nas" and any(_floor(name) == "devices" for name, _ in _ours(m))]
    assert not guilty


def test_floors_below_the_face_never_import_it() -> None:
    guilty = [m for m in SOURCES if _floor(m) != "netdyno" and any(name == "netdyno" for name, _ in _imported(m))]
    assert not guilty


def test_no_circles() -> None:
    graph = {
        module: {name for name, at_once in _ours(module) if at_once and name in SOURCES and name != module}
        for module in SOURCES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


def test_every_import_of_ours_exists() -> None:
    """A name that is no module would slip through the tests above."""
    unknown = {
        (module, name)
        for module in SOURCES
        for name, _ in _ours(module)
        if name not in SOURCES and not (ROOT / name.replace("netdyno.", "", 1).replace(".", "/")).is_dir()
    }
    assert not unknown


def test_base_needs_nothing_but_the_standard_library() -> None:
    foreign = {
        name
        for module in SOURCES
        if _floor(module) == "base"
        for name, _ in _imported(module)
        if name.split(".")[0] not in {*sys.stdlib_module_names, "netdyno"}
    }
    assert not foreign


def test_nothing_heavy_loads_early() -> None:
    code = f"{EXPORTS}; import sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_package_is_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    with_code = {name if SOURCES[name].name == "__init__.py" else name.rpartition(".")[0] for name in SOURCES}
    assert with_code <= set(settings["packages"])
    assert {f"netdyno.{floor}" for floor in FLOORS[:-1]} <= set(settings["package-dir"])


def test_every_listed_package_is_there() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {name: ROOT / (name.removeprefix("netdyno.").replace(".", "/")) for name in settings["packages"]}
    missing = [
        name
        for name, folder in folders.items()
        if not folder.is_dir() and not (ROOT / name.replace(".", "/")).is_dir()
    ]
    assert not missing


def test_tables_hold_no_code() -> None:
    assert not [file for file in (ROOT / "tables").rglob("*") if file.suffix in {".py", ".so", ".sh", ".ipynb"}]


# Where files are opened that no user names: of the kernel, of the package itself, of a cache; and the one way.
_OPENERS = {
    "netdyno.base.files": "the one way",
    "netdyno.base.database": "the one way, of databases",
    "netdyno.base.clock": "/proc",
    "netdyno.base.rows": "unpacks what was opened in the one way",
    "netdyno.nas.data.idx": "unpacks what was opened in the one way",
    "netdyno.nas.ensembles.arrays": "unpacks what was opened in the one way",
    "netdyno.nas.state": "unpacks what was read in the one way",
    "netdyno.exporters.read": "weights beside a model, which ONNX's own reader finds",
    "netdyno.nas.run_networks": "a program that is shipped by itself, with the standard library",
    "netdyno.report.page": "the package's own files",
    "netdyno.cli.console": "/dev/null",
    "netdyno.cli.streams": "/dev/null",
}
_CALLS = {"open", "os.open", "io.open", "np.load", "numpy.load", "torch.load", "sqlite3.connect", "gzip.open"}
_CALLS |= {"zipfile.ZipFile", "tarfile.open", "pd.read_csv", "onnx.load", "onnx.load_model"}


def _opens(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    if ast.unparse(node.func) in _CALLS:
        return "O_DIRECTORY" not in ast.unparse(node)  # which opens nothing but a folder
    if not isinstance(node.func, ast.Attribute):
        return False
    modes = [each.value for each in node.args[:1] if isinstance(each, ast.Constant)]
    reads = (
        node.func.attr == "open" and (not node.args or str(*modes)[:1] == "r") and "path" in ast.unparse(node.func)
    )
    return node.func.attr in ("read_text", "read_bytes") or reads


@pytest.mark.parametrize("module", [m for m in SOURCES if _floor(m) != "devices" and m not in _OPENERS])
def test_users_files_are_opened_in_one_way(module: str) -> None:
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"))
    stray = [f"line {node.lineno}: {ast.unparse(node)}" for node in ast.walk(tree) if _opens(node)]  # type: ignore[attr-defined]
    assert not stray, f"{module} opens files past base.files.open_regular: {stray}"
