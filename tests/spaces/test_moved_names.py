"""Files of others may import from where things stood once."""

from __future__ import annotations

import pytest

from spaces import menu, space, walk


def test_what_has_moved_is_found_where_it_stood() -> None:
    assert space.prune is walk.prune  # type: ignore[attr-defined]
    assert space.load_baselines is menu.load_baselines  # type: ignore[attr-defined]


def test_nothing_else_is() -> None:
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from spaces.space import nothing  # type: ignore[attr-defined]  # noqa: F401
