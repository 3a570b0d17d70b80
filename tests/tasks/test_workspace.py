import errno
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tasks.run.workspace import (
    Workspace,
    WorkspaceError,
    read_json,
    read_npz,
    sha256_file,
    write_json,
    write_npz,
)


def test_default_and_profile_have_different_folders() -> None:
    default, tiny = Workspace.of(), Workspace.of("tiny")
    assert default.data == Path("artifacts/data")
    assert tiny.selection == Path("runs/tiny/selection")
    assert default.state != tiny.state


def test_state_is_outside_what_stages_delete() -> None:
    for workspace in (Workspace.of(), Workspace.of("tiny")):
        assert workspace.root not in workspace.state.parents


@pytest.mark.parametrize("name", ["", "../x", "a/b", "/tmp", ".hidden"])
def test_a_profile_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(WorkspaceError, match="profile must be letters"):
        Workspace.of(name)


def test_json_has_sorted_keys_and_keeps_each_digit(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    write_json(path, {"b": 0.1 + 0.2, "a": np.float64(1) / 3, "c": np.arange(2)})
    assert path.read_text().startswith('{\n "a": 0.3333333333333333,\n "b": 0.30000000000000004')
    assert path.read_text().endswith("}\n")
    assert read_json(path) == {"a": 1 / 3, "b": 0.1 + 0.2, "c": [0, 1]}


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_npz_bytes_depend_on_the_arrays_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {"b": np.arange(6, dtype=np.int32).reshape(2, 3), "a": np.float32(1.5)}
    write_npz(tmp_path / "1.npz", arrays)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_npz(tmp_path / "2.npz", dict(reversed(arrays.items())))
    assert sha256_file(tmp_path / "1.npz") == sha256_file(tmp_path / "2.npz")
    read = read_npz(tmp_path / "1.npz")
    assert read["a"].shape == () and read["a"].dtype == np.float32
    np.testing.assert_array_equal(read["b"], arrays["b"])


def test_npz_of_objects_is_neither_written_nor_read(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}], dtype=object)
    with pytest.raises(ValueError, match="Object arrays"):
        write_npz(tmp_path / "a.npz", {"a": objects})
    assert list(tmp_path.iterdir()) == []
    np.savez(tmp_path / "b.npz", a=objects)
    with pytest.raises(WorkspaceError, match="Object arrays"):
        read_npz(tmp_path / "b.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"text", b"\x80\x04."])
def test_damaged_npz_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"a\.npz must be an \.npz"):
        read_npz(path)


def test_plain_npy_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(2))
    with pytest.raises(WorkspaceError, match=r"must be an \.npz"):
        read_npz(tmp_path / "a.npy")


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"must exist.*Run the stage"):
        read_json(tmp_path / "a.json")
    with pytest.raises(WorkspaceError, match=r"must exist.*Run the stage"):
        read_npz(tmp_path / "a.npz")


def test_full_disk_is_one_line_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkspaceError, match=r"must have room for .*it is full"):
        write_json(path, 2)
    assert read_json(path) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_npz_entries_are_those_of_numpy(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", {"x/y": np.zeros(3)})
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.namelist() == ["x/y.npy"]
