"""`python -m docs.licences` writes `docs/licences.md`: the licence of each package that the extras install.

The names come from the metadata of the installed packages, followed from pyproject.toml on; so does each licence.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import Distribution

PAGE: Final = Path(__file__).with_name("licences.md")
_PROJECT: Final = tomllib.loads((PAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_LONGEST: Final = 60  # characters; a longer field holds the whole text of a licence
_HEAD: Final = """# Licences

This project has the Apache License 2.0. It installs the packages below and contains none of them.
`python -m docs.licences` writes this page from the packages' own metadata, on x86 Linux with Python 3.11. PyTorch
(extra `torch`) is yours already where you export a model, and is not listed.

The embedded Apache Kafka (extra `trial`) has the Apache License 2.0; `processor/trial/jars.lock` names its jars.
"""


def page() -> str:
    """The page as Markdown: a table for the library and one for each extra, without what an earlier table has."""
    parts, seen = [_HEAD], set[str]()
    for title, requirements in {"The library": _PROJECT["dependencies"], **_PROJECT["optional-dependencies"]}.items():
        if title == "torch":
            continue
        found = _closure(requirements) - seen
        seen |= found
        rows = "".join(f"| {name} | {licence(distribution(name))} |\n" for name in sorted(found))
        parts.append(f"## {title}\n\n| package | licence |\n|---|---|\n{rows}")
    return "\n".join(parts)


def _closure(requirements: Iterable[str]) -> set[str]:
    """The names of all packages that are installed for these, on this machine."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name in found or name == "sequence-processor" or not (wanted.marker is None or wanted.marker.evaluate()):
            continue
        found.add(name)
        needs = (Requirement(text) for text in distribution(name).requires or ())
        extras = wanted.extras or {""}
        waiting += [
            one for one in needs if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in extras)
        ]
    return found


def licence(package: Distribution) -> str:
    """As its metadata names it: the SPDX expression, a short field, or the classifiers."""
    of = package.metadata
    for field in ("License-Expression", "License"):
        if (text := of.get(field, "")) and len(text) <= _LONGEST:
            return str(text)
    classifiers = [line.split(" :: ")[-1] for line in of.get_all("Classifier") or () if line.startswith("License ::")]
    return ", ".join(classifiers) or "see the package"


if __name__ == "__main__":
    try:
        PAGE.write_text(page(), encoding="utf-8")
    except PackageNotFoundError as error:
        sys.exit(f"{error}. Run `make` first.")
    sys.stdout.write(f"{PAGE} is written.\n")
