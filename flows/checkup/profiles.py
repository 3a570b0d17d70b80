"""``params.yaml``: whether each profile can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flows.checkup.finding import Finding, bad, good
from tasks.run.params import ParamsError
from tasks.run.params_file import load_params, profile_names


def look(root: Path) -> Iterator[Finding]:
    """The default, and every profile."""
    path = root / "params.yaml"
    try:
        names = [None, *profile_names(path)]
    except ParamsError as error:
        yield bad("profiles", str(error), "git diff params.yaml shows what changed.")
        return
    wrong = 0
    for name in names:
        try:
            load_params(path, name)
        except ParamsError as error:
            wrong += 1
            yield bad("profiles", f"{name or 'default'}: {error}", "correct params.yaml.")
    if not wrong:
        yield good("profiles", f"the default and {len(names) - 1} profiles can be read")
