"""The site of the pages is built without a network, has every page, and no broken link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import site

ROOT = Path(__file__).parents[2]
SETTINGS = (ROOT / "docs" / "site.yml").read_text(encoding="utf-8")


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Nothing answers there: whatever asks the network would fail.
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    site.prepare(tmp_path)
    return tmp_path


def test_it_is_built_and_every_link_and_anchor_leads_somewhere(prepared: Path) -> None:
    assert site.build(prepared) == 0
    start = (prepared / "site" / "index.html").read_text(encoding="utf-8")
    assert "<h1" in start
    assert not re.search(r'<(?:link|script|img)[^>]+(?:href|src)="?https?://(?!zensical)', start), "from elsewhere"


@pytest.mark.parametrize("link", ["nowhere.md", "faq.md#no-such-question"])
def test_a_broken_link_fails(prepared: Path, link: str) -> None:
    with (prepared / "pages" / "docs" / "sizing.md").open("a", encoding="utf-8") as page:
        page.write(f"\n[broken]({link})\n")
    assert site.build(prepared) != 0


def test_every_page_is_in_the_menu() -> None:
    listed = set(re.findall(r"- ([\w/.-]+\.md)$", SETTINGS, re.MULTILINE))
    pages = {page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= listed
    assert all((ROOT / page).is_file() for page in listed)
