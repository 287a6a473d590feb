"""`python -m docs.site` builds the site of the pages in build/docs/site, without a network; a broken link is an error.

The pages lie where a reader of the repository finds them: in docs/, beside the schemas, beside the images. The
builder wants all of them below one directory, so they are copied first, with the same paths. So one link holds in both.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
# What a page is, or what a link leads to.
_SOURCES: Final = ("*.md", "LICENSE", "Dockerfile", "docs/**/*", "schemas/**/*", "deploy/*", "tests/protocol/*.md")
_OWN: Final = {"docs/api.py", "docs/licences.py", "docs/site.py", "docs/site.yml"}


def gather(pages: Path) -> None:
    """Copies everything that the site shows or links to below `pages`."""
    for pattern in _SOURCES:
        for source in sorted(ROOT.glob(pattern)):
            name = source.relative_to(ROOT)
            if source.is_file() and source.suffix != ".pyc" and name.as_posix() not in _OWN:
                (pages / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, pages / name)


def prepare(directory: Path) -> None:
    """Empties `directory` and puts the pages and the builder's settings there."""
    shutil.rmtree(directory, ignore_errors=True)
    gather(directory / "pages")
    shutil.copyfile(ROOT / "docs" / "site.yml", directory / "mkdocs.yml")


def build(directory: Path) -> int:
    """Builds `directory`/site of what was prepared. Returns the builder's exit code: 0 unless a link is broken."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(directory / "mkdocs.yml")]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    prepare(ROOT / "build" / "docs")
    code = build(ROOT / "build" / "docs")
    if not code:
        sys.stdout.write("Open build/docs/site/index.html.\n")
    sys.exit(code)
