"""The user's own code, imported before a model file is read: the classes that the file names by their names alone.

It runs, whatever it does. So nothing but the user names it, never a file.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from processor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

_FORM: Final = "Name a Python file (my_layers.py) or a module that Python finds (my.layers)."


def import_code(sources: Iterable[str | os.PathLike[str]]) -> dict[str, Any]:
    """Imports Python files and modules in their order. Returns the classes and functions that they define, by name.

    A file sees the modules beside it, as it does when Python runs it; a module is also looked for in the working
    directory. What the code prints goes to the standard error.

    Raises:
        ConfigError: there is no such file or module, or it fails when it is imported.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    defined: dict[str, Any] = {}
    for source in sources:
        module = _imported(os.fspath(source))
        own = (thing for thing in vars(module).values() if inspect.isclass(thing) or inspect.isfunction(thing))
        defined |= {thing.__name__: thing for thing in own if thing.__module__ == module.__name__}
    return defined


def _imported(source: str) -> ModuleType:
    path = Path(source)
    if path.suffix == ".py" and not path.is_file():
        raise ConfigError(f"There is no code at {source}.", "There is no such file.", _FORM)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            if path.suffix == ".py":
                return _run(path)
            _also_look_in(Path.cwd())
            return importlib.import_module(source)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the user's code raises, SystemExit too, is about that code
        missing = isinstance(error, ModuleNotFoundError) and source.startswith(str(error.name))
        hint = _FORM if missing else "The code must run by itself: python -c 'import ...' shows the whole traceback."
        raise ConfigError(f"The code {source} cannot be imported.", f"{type(error).__name__}: {error}", hint) from error


def _run(path: Path) -> ModuleType:
    name, whole = path.stem, path.resolve()
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(whole):
        return known
    spec = importlib.util.spec_from_file_location(name, whole)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _also_look_in(whole.parent)
    if known is None:  # as other modules import it; one of Python's own keeps its name
        sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if sys.modules.get(name) is module:
            del sys.modules[name]
        raise
    return module


def _also_look_in(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.append(str(directory))
