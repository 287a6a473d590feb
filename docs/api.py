"""`python -m docs.api` writes `docs/api.md`: the public names of the package, from their docstrings.

A name is public when `processor.__all__` contains it. A class is shown with its public members that have a docstring.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import processor

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = Path(__file__).with_name("api.md")
_WIDTH: Final = 110

_HEAD: Final = """# API

The public names of the package `processor`. `python -m docs.api` writes this page from the docstrings. A test compares
the two. The package itself imports neither TensorFlow nor a Kafka client; each name is imported when it is used.
"""


def page() -> str:
    """The page as Markdown: functions first, then classes, then errors, then everything else."""
    names = [name for name in processor.__all__ if not name.startswith("__")]
    sections: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": [], "Other names": []}
    for name in sorted(names, key=str.lower):
        value = getattr(processor, name)
        sections[_kind(value)].append(f"### {name}\n\n{_entry(name, value)}")
    parts = [f"## {title}\n\n" + "\n".join(entries) for title, entries in sections.items() if entries]
    return "\n".join([_HEAD, *parts])


def _kind(value: Any) -> str:
    if not inspect.isclass(value):
        return "Functions" if callable(value) else "Other names"
    return "Errors" if issubclass(value, BaseException) else "Classes"


def _entry(name: str, value: Any) -> str:
    if inspect.isclass(value):
        return _class(name, value)
    if callable(value):
        return _code(name, value) + _text(value)
    shown = repr(value)
    return (f"```python\n{name} = {shown}\n```\n" if len(shown) < _WIDTH and "object at" not in shown else "") + _text(
        value
    )


def _class(name: str, value: type) -> str:
    # How an exception or a member of an enumeration is constructed is the package's own affair.
    head = "" if issubclass(value, BaseException | Enum) else _code(name, value)
    if issubclass(value, Enum):
        return _text(value) + "\n" + "".join(f"- `{member.value}`\n" for member in value)
    members = "".join(f"\n#### {name}.{member}\n\n{body}" for member, body in _members(name, value))
    return head + _text(value) + members


def _members(name: str, value: type) -> Iterator[tuple[str, str]]:
    for member, raw in vars(value).items():
        own = raw.fget if isinstance(raw, property) else getattr(raw, "__func__", raw)
        if member.startswith("_") or not inspect.isfunction(own) or not own.__doc__:
            continue
        text = _text(own)
        if isinstance(raw, property):
            of = inspect.signature(own).return_annotation
            yield member, f"```python\n{name}.{member}: {of}\n```\n{text}"
        else:
            yield member, _code(f"{name}.{member}", own) + text


def _code(name: str, value: Any) -> str:
    """The signature, one parameter a line where it is long."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    shown = [parameter for parameter in signature.parameters.values() if parameter.name not in ("self", "cls")]
    signature = _unquoted(signature.replace(parameters=shown))
    line = f"{name}{signature}"
    if len(line) > _WIDTH:
        of = str(signature.replace(parameters=[]))[2:]
        given = "".join(f"    {piece},\n" for piece in _pieces(signature))
        line = f"{name}(\n{given}){of}"
    line = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", line)  # a default; the address differs at each start
    return f"```python\n{line}\n```\n"


class _Bare(str):
    """An annotation as it is written: its `repr` has no quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _unquoted(signature: inspect.Signature) -> inspect.Signature:
    def bare(annotation: Any) -> Any:
        return _Bare(annotation) if isinstance(annotation, str) else annotation

    parameters = [one.replace(annotation=bare(one.annotation)) for one in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=bare(signature.return_annotation))


def _pieces(signature: inspect.Signature) -> list[str]:
    pieces: list[str] = []
    for parameter in signature.parameters.values():
        is_named = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        if is_named and "*" not in pieces and not any(piece.startswith("*") for piece in pieces):
            pieces.append("*")
        pieces.append(str(parameter))
    return pieces


def _text(value: Any) -> str:
    """The docstring as Markdown: `Args:` and `Raises:` become lists."""
    text = inspect.getdoc(value) or ""
    if dataclasses.is_dataclass(value) and text.startswith(f"{getattr(value, '__name__', '')}("):
        text = ""  # made by the decorator
    parts = re.split(r"^(Args|Returns|Raises):\n", text, flags=re.MULTILINE)
    out = f"\n{parts[0].strip()}\n" if parts[0].strip() else ""
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        items = re.sub(r"\n {5,}", " ", f"\n{body}").strip().splitlines()
        if title == "Returns":
            out += f"\nReturns: {' '.join(item.strip() for item in items)}\n"
        else:
            out += f"\n{title}:\n\n" + "".join(f"- {_names_as_code(item.strip())}\n" for item in items if item.strip())
    return out


def _names_as_code(item: str) -> str:
    """`ConfigError: why`, `keys, states: what`: the names before the colon as code."""
    names, colon, why = item.partition(":")
    return re.sub(r"\b([A-Z]\w+|[a-z_]+(?=,|$))", r"`\1`", names) + colon + why


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} is written.\n")
