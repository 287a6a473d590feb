"""The page of the API is what the docstrings contain."""

from __future__ import annotations

import processor
from docs import api


def test_the_page_is_made_of_the_docstrings() -> None:
    assert api.PAGE.read_text(encoding="utf-8") == api.page(), "`python -m docs.api` writes it again"


def test_every_public_name_has_its_entry() -> None:
    page = api.page()
    for name in processor.__all__:
        assert name.startswith("__") or f"\n### {name}\n" in page, name
