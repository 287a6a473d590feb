"""The page of licences lists what is installed."""

from __future__ import annotations

import platform
import sys

import pytest

from docs import licences


@pytest.mark.skipif(
    (platform.system(), platform.machine(), sys.version_info[:2]) != ("Linux", "x86_64", (3, 11)),
    reason="the page is written on x86 Linux with Python 3.11; other systems need other packages",
)
def test_the_page_has_every_package_with_its_licence() -> None:
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page(), "`python -m docs.licences` writes it again"
