"""Both pages over a store of their own."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from flows import server, ui


@pytest.mark.slow
def test_both_pages_answer_and_both_servers_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HOME", tmp_path / "prefect")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    with ui.pages(tmp_path) as addresses:
        for address in addresses:
            page = urllib.request.urlopen(address, timeout=120).read()
            assert b"<html" in page
    assert not any(server.answers(address) for address in addresses)
