from __future__ import annotations

from pathlib import Path

import pytest

from spaces.menu import load_baselines, load_space
from spaces.notation import parse_architecture, read_architecture
from spaces.space import SpaceError

CELLS, BLOCKS = load_space("nas_bench_201"), load_space("mobilenet_v2_small")
RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"


def test_one_architecture_in_all_its_forms(tmp_path: Path) -> None:
    one = load_baselines("nas_bench_201")["resnet"]
    path = tmp_path / "cell.txt"
    path.write_text(f"{RESNET}\n")
    for text in ("resnet", RESNET, one.to_json(), f'{{"architecture": {one.to_json()}}}'):
        assert parse_architecture(CELLS, text) == one == read_architecture(CELLS, text)
    assert read_architecture(CELLS, str(path)) == one


def test_a_table_names_no_files(tmp_path: Path) -> None:
    path = tmp_path / "cell.txt"
    path.write_text(RESNET)
    with pytest.raises(SpaceError, match="must be JSON, the usual text or one of"):
        parse_architecture(CELLS, str(path))


@pytest.mark.parametrize(
    ("space", "text", "message"),
    [
        (BLOCKS, RESNET, "must be JSON or one of"),
        (BLOCKS, "", "but got ''"),
        (CELLS, "[" * 9000, r"but got '\[\[\[.*\.\.\.'"),
        (CELLS, '{"a":' * 99_999, "an architecture must be JSON"),
        (CELLS, '{"edge0-1": ["none"]}', "edge0-1 must be one of"),
        (CELLS, RESNET.replace("none~0", "pool~0"), "edge0-2 must be one of"),
    ],
)
def test_what_is_none_is_refused(space: object, text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        parse_architecture(space, text)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 300
