"""Networks to measure on a board that is not at this machine, with the script that does it."""

from __future__ import annotations

import shutil
from pathlib import Path

from hw.device import load_device
from hw.measuring import kit_script
from hw.measuring.bench import BenchSettings
from tasks.candidates.architecture_table import TableError
from tasks.measure_networks import Plan, chosen_points, written
from tasks.run.workspace import write_bytes

NETWORKS, SCRIPT, README = "networks", "measure.py", "README.md"

TEXT = """# {count} networks of {space} to measure

1. Copy this folder to the board. It needs Python 3.7 and `tflite_runtime` or `ai_edge_litert`.
2. Its processor: `python3 measure.py` (`--threads 4` for four of its cores).
3. A Coral: first, where it runs, `edgetpu_compiler -s -o networks networks/*.tflite`, then
   `python3 measure.py --delegate libedgetpu.so.1`.
4. A phone: put LiteRT's `benchmark_model` to {phone} on it (`adb push`, `chmod +x`), then
   here, at the computer, `python3 measure.py --adb`; further options go to `benchmark_model`,
   e.g. `--use_gpu=true`.
5. Let nothing else run. It may be stopped: a second call measures what is missing or failed.
6. Bring `rows.csv` back to this folder, and fit a profile of the board to it: `python -m flows
   calibrate --device {device} --measurements {folder}/rows.csv --out my_board.yaml`
"""


def run(
    device: str, space: str, count: int, seed: int, classes: int | None, target: Path
) -> tuple[Path, ...]:
    """Write the kit to the folder ``target``; rows that are there stay.

    Returns:
        The networks, those that tell most first.

    Raises:
        TableError: It cannot be written.
        DesignError, DeviceError, SpaceError, CalibrationError: See
            :func:`tasks.candidates.design.chosen`.
    """
    load_device(device)
    plan = Plan(
        space, "", device, count, seed, classes, BenchSettings(), target / NETWORKS, target
    )
    files = tuple(path for _, path in written(plan, chosen_points(plan)))
    text = TEXT.format(
        count=len(files), space=space, device=device, folder=target.name, phone=kit_script.PHONE
    )
    try:
        shutil.copyfile(kit_script.__file__, target / SCRIPT)
        write_bytes(target / README, text.encode())
    except OSError as error:
        raise TableError(f"{target}: must be writable, but got: {error.strerror}.") from None
    return files
