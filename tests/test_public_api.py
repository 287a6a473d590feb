"""The public names: imported when used, documented, and complete: what they return and raise is public, too."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import processor

NAMES = [name for name in processor.__all__ if not name.startswith("__")]
PUBLIC = {name: getattr(processor, name) for name in NAMES}
IN_CAPITALS = re.compile(r"\b[A-Z]\w+[a-z]\w*\b")


def namespace(module: Any) -> dict[str, Any]:
    """A module's names, with those that only type checkers see."""
    names = dict(vars(module))
    for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                _see(statement, names)
    return names


def _see(statement: ast.stmt, names: dict[str, Any]) -> None:
    """Executes one statement for type checkers; what it imports may itself be for type checkers only."""
    if not isinstance(statement, ast.ImportFrom):
        exec(compile(ast.Module([statement], []), "<types>", "exec"), names)
        return
    module = import_module(statement.module or "")
    for alias in statement.names:
        known = vars(module) if hasattr(module, alias.name) else namespace(module)
        names[alias.asname or alias.name] = known[alias.name]


def own_types(annotation: Any) -> Iterator[type]:
    """The classes of this project inside of an annotation."""
    if inspect.isclass(annotation) and annotation.__module__.split(".")[0] == "processor":
        yield annotation
    for argument in typing.get_args(annotation):
        yield from own_types(argument)


def functions(value: Any) -> Iterator[Callable[..., Any]]:
    """A function itself; a class' public methods and properties."""
    if not inspect.isclass(value):
        yield value
        return
    for name, member in vars(value).items():
        own = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(own):
            yield own


def hints(value: Any) -> dict[str, Any]:
    return typing.get_type_hints(value, globalns=namespace(sys.modules[value.__module__]))


@pytest.mark.parametrize("name", NAMES)
def test_what_it_returns_is_public(name: str) -> None:
    value = PUBLIC[name]
    returned = [hints(function).get("return") for function in functions(value) if callable(value)]
    if dataclasses.is_dataclass(value):
        returned += [hint for field, hint in hints(value).items() if not field.startswith("_")]
    private = {kind for hint in returned for kind in own_types(hint)} - set(PUBLIC.values())
    assert not private


@pytest.mark.parametrize("name", NAMES)
def test_what_it_raises_is_public(name: str) -> None:
    for function in functions(PUBLIC[name]):
        text = inspect.getdoc(function) or ""
        _, _, raises = text.partition("Raises:\n")
        named = set(re.findall(r"^ +([\w, ]+?)(?: \(.*?\))?: ", raises, re.MULTILINE))
        for kind in {word for line in named for word in IN_CAPITALS.findall(line)}:
            assert kind in PUBLIC or hasattr(builtins, kind), kind


@pytest.mark.parametrize("name", NAMES)
def test_it_is_documented(name: str) -> None:
    assert PUBLIC[name].__doc__
    assert not PUBLIC[name].__doc__.startswith(f"{name}("), "what @dataclass writes says nothing"


def test_the_names_are_in_order_and_listed_by_dir() -> None:
    assert processor.__all__ == sorted(processor.__all__)
    assert set(processor.__all__) <= set(dir(processor))
    with pytest.raises(AttributeError, match="no_such_name"):
        processor.no_such_name  # noqa: B018


def test_importing_the_package_or_its_errors_imports_no_library() -> None:
    code = """
import sys
standard = set(sys.stdlib_module_names)
before = set(sys.modules)
import processor
processor.ProcessorError, processor.MissingExtra
print({name.split(".")[0] for name in set(sys.modules) - before} - standard)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "{'processor'}\n"


def test_loading_an_artifact_needs_the_core_dependencies_alone() -> None:
    code = """
import sys
from processor import Artifact, Report, Stepper, load
print(sorted({"numpy", "rich", "typer", "pydantic", "confluent_kafka", "keras", "tensorflow"} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "['numpy']\n"
