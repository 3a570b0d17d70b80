"""Both pages over a store of their own."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from flows import server, ui
from tasks.tracking.tracker import Tracker, prepare_store


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
        Tracker(prepare_store(tmp_path), "edgenas-detection")
        (line,) = ui.views(addresses[1])
        assert line.startswith(f"  edgenas-detection: {addresses[1]}/#/experiments/")
        assert line.endswith("&workflowType=machine_learning")
    assert not any(server.answers(address) for address in addresses)
