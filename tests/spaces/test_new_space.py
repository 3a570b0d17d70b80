"""The space that docs/spaces.md shows is a whole one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import spaces.catalog
from hw.cost_model import load_cost_model
from hw.device import load_device
from spaces.menu import load_baselines, load_trainable, names_in
from spaces.walk import sample

PAGE = Path(__file__).parents[2] / "docs" / "spaces.md"


def test_the_space_of_the_page_is_listed_built_and_costed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) <= 45
    (tmp_path / "two_stages.py").write_text(text, "utf-8")
    monkeypatch.setattr(spaces.catalog, "__path__", [*spaces.catalog.__path__, str(tmp_path)])
    assert "two_stages" in names_in("catalog")
    space, rng = load_trainable("two_stages"), np.random.default_rng(0)
    points = [*load_baselines("two_stages").values(), space.largest(), space.smallest()]
    points += [sample(space, rng) for _ in range(20)]
    model = load_cost_model("analytic", load_device("coral_usb3"))
    assert all(model.estimate(space.lower(point)).latency_ms > 0 for point in points)
