"""A checkout of its own for tests that run the flow: a copy, the smallest space, fresh stores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.run.workspace import sha256_file

ROOT = Path(__file__).resolve().parents[2]

# A new file and nothing else makes a new space; here one that trains in seconds.
SPACE = '''"""Two blocks for pictures of 8 pixels."""

from spaces.families.blocks import IBN_DW, IBN_FUSED, IBN_FUSED_GROUPED, SKIP
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.walk import prune

_FIRST = BlockChoices(
    (IBN_DW, IBN_FUSED, IBN_FUSED_GROUPED), expansions=(2, 4), channels_per_group=(8,), strides=2
)
SPACE = IbnSpace(
    name="smoke",
    input_shape=(1, 8, 8, 1),
    stem_widths=(8,),
    stem_kernels=(3,),
    stem_strides=1,
    stages=(Stage((8, 16), (_FIRST, BlockChoices((SKIP, IBN_DW), expansions=(2,)))),),
    top_widths=(16, 32),
)
BASELINES = {
    "wide": prune(
        SPACE, {"*/op": IBN_DW, "*/expansion": 2, "stage1/channels": 16, "top/channels": 32}
    )
}
'''
SMOKE: dict[str, dict[str, Any]] = {
    "data": {"image_size": 8},
    "space": {"name": "smoke"},
    "supernet": {"steps": 30, "warmup_steps": 3, "batch_size": 32, "checkpoint_steps": 5},
    "search": {
        "evaluator": "shared",
        "budget": 6,
        "chunk": 2,
        "calibration_images": 32,
        "validation_images": 64,
    },
    "finetune": {
        "finalists": 2,
        "epochs": 1,
        "qat_epochs": 1,
        "batch_size": 256,
        "calibration_images": 16,
    },
}


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of this project where runs may write."""

    root: Path

    def start(
        self, *words: str, variables: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start ``python -m flows``, in a process group of its own."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(
            [sys.executable, "-m", "flows", *words],
            cwd=self.root,
            env={**clean_environment(), **(variables or {})},
            text=True,
            start_new_session=True,
            **{**pipes, **options},
        )

    def run(
        self, *words: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -m flows`` to its end, with some variables more."""
        process = self.start(*words, variables=variables)
        out, error = process.communicate(timeout=1200)
        return subprocess.CompletedProcess(words, process.returncode, out, error)

    def json(self, *path: str) -> Any:
        """A file of the smoke run."""
        return json.loads(self.root.joinpath("runs", "smoke", *path).read_text())

    def digests(self, folder: str = "runs/smoke") -> dict[str, str]:
        """SHA-256 of all files that a run leaves, but the page, which shows durations."""
        files = (path for path in (self.root / folder).rglob("*") if path.is_file())
        named = {str(path.relative_to(self.root / folder)): sha256_file(path) for path in files}
        named.pop("report/index.html", None)
        return named

    def processes(self) -> list[str]:
        """Commands of the processes that live in this checkout."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if Path(os.readlink(process / "cwd")).is_relative_to(self.root):
                    words = (process / "cmdline").read_bytes().decode().split("\0")
                    found.append(f"{process.name} {' '.join(words)}")
            except OSError:  # it ended meanwhile, or is somebody else's
                continue
        return found

    def left_over(self, seconds: float = 60) -> list[str]:
        """Processes that are still there after a while."""
        return waited(self.processes, lambda found: not found, seconds)


def waited(get: Callable[[], Any], good: Callable[[Any], bool], seconds: float) -> Any:
    """What ``get`` returns once it is ``good``, or at the end of the time."""
    deadline = time.monotonic() + seconds
    while not good(value := get()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


def clean_environment() -> dict[str, str]:
    """Ours, without what leads to somebody's servers, stores or settings."""
    foreign = ("PREFECT_", "MLFLOW_", "DVC_", "TF_CPP_", "EDGENAS_", "GIT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def copy_project(target: Path) -> None:
    """Copy what git keeps or would keep."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listing.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


@pytest.fixture(scope="session")
def own_environment() -> dict[str, str]:
    """For commands that are not ``python -m flows``."""
    return clean_environment()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with a profile ``smoke`` and both databases, which take seconds to create."""
    root = tmp_path_factory.mktemp("template")
    copy_project(root)
    (root / "spaces" / "catalog" / "smoke.py").write_text(SPACE)
    with (root / "params.yaml").open("a") as params:
        params.write(f"\n  smoke: {json.dumps(SMOKE)}\n")
    create = (
        "from pathlib import Path; from flows.server import main; main(); "
        "from tasks.tracking.tracking_store import prepare_store; prepare_store(Path())"
    )
    subprocess.run(
        [sys.executable, "-c", create],
        cwd=root,
        env=clean_environment(),
        check=True,
        capture_output=True,
    )
    return root


@pytest.fixture(scope="session")
def new_checkout(
    template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Checkout]:
    """Makes checkouts in which nothing has run."""

    def make() -> Checkout:
        root = tmp_path_factory.mktemp("checkout")
        return Checkout(shutil.copytree(template, root, dirs_exist_ok=True).resolve())

    return make


@pytest.fixture(scope="module")
def checkout(new_checkout: Callable[[], Checkout]) -> Iterator[Checkout]:
    """One checkout for the tests of a file."""
    made = new_checkout()
    yield made
    assert not made.left_over(), "processes must end with their run"
