"""The project's command line: ``python -m flows run | check | status | dvc | schedule | ...``.

Prefect, MLflow and TensorFlow are imported inside the commands that use them, so that help and
mistakes are answered at once. Exit status: 0 done; 2 bad input, said in one line; 130 interrupted;
141 nobody reads what it prints; 1 a defect, in one line that names a file with its traceback.
"""

from __future__ import annotations

import argparse
import errno
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from flows import utf8
from flows.options import parser
from spaces import defect
from tasks.pipeline import dvc_pipeline
from tasks.pipeline.stages import alone, check_reads
from tasks.run.params import Params
from tasks.run.spec import RunSpec
from tasks.run.workspace import Workspace, check_writable

_NO_ROOM_BYTES = 1_000_000  # SQLite asks for tens of kB at once
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_KEPT = Path(".edgenas")
_ROOMS = frozenset({"spaces", "hw", "tasks", "flows"})


def _spec(arguments: argparse.Namespace) -> RunSpec:
    """The run that a command is about; not every command may set all of it."""
    given = vars(arguments)
    overrides = tuple(given.get("overrides", ()))
    return RunSpec(given["profile"], overrides, given.get("tracking", True))


def _check(arguments: argparse.Namespace) -> Params:
    """Says at once what is wrong: a server takes seconds to start, a search hours to get there."""
    from flows.given_servers import check_mlflow_variables, check_store_variable
    from flows.proxies import spare_loopback
    from tasks.pipeline.preflight import check
    from tasks.run import cluster, scheduler
    from tasks.run.params_file import load_params

    spare_loopback()
    spec, workspace = _spec(arguments), Workspace.of(arguments.profile)
    params = load_params(Path("params.yaml"), spec.profile, spec.overrides)
    check(params)
    kept = (_KEPT / name for name in ("log", "mlflow", "prefect"))
    check_writable(workspace.root, workspace.state, workspace.store, *kept)
    if spec.tracking:
        check_mlflow_variables(Path())
    check_store_variable()
    if address := scheduler.given():
        cluster.check(address, workspace.root, workspace.state)
    return params


def _is_run_by_dvc(arguments: argparse.Namespace) -> bool:
    """Whether DVC runs this stage: it says the name of the one that it runs."""
    return os.environ.get("DVC_STAGE", "").rpartition(":")[2] == str(arguments.stage)


def _run(arguments: argparse.Namespace) -> None:
    from flows.console import keep_native_output_in, point_to_log_at_sudden_death
    from flows.server import prefect_server

    params, workspace = _check(arguments), Workspace.of(arguments.profile)
    if arguments.stage:
        check_reads(arguments.stage, workspace)
        if _is_run_by_dvc(arguments):
            dvc_pipeline.check(arguments.stage, arguments.profile, params, Path())
    with alone(workspace):
        point_to_log_at_sudden_death()
        keep_native_output_in()
        is_ours = not os.environ.get("PREFECT_API_URL")
        with prefect_server():
            from flows.edge_nas import run_all
            from flows.left_over import close_killed_runs

            if is_ours:
                close_killed_runs(arguments.profile)
            run_all(_spec(arguments), arguments.stage)


def _look_ahead(arguments: argparse.Namespace) -> None:
    from tasks.check_profile import run
    from tasks.run.params_file import load_params
    from tasks.run.progress import ConsoleProgress

    Workspace.of(arguments.profile)
    params = load_params(Path("params.yaml"), arguments.profile, arguments.overrides)
    for line in run(params, ConsoleProgress()):
        print(line, flush=True)


def _dvc(arguments: argparse.Namespace) -> None:
    path = dvc_pipeline.write(arguments.profile, _check(arguments), Path())
    print(f"Written to {path}. Keep it in git, and run: dvc repro {path}")


def _status(arguments: argparse.Namespace) -> None:
    from flows.status import show

    show(arguments.profile)


def _schedule(arguments: argparse.Namespace) -> None:
    from flows.prune import check_keep
    from flows.schedule import serve

    if arguments.keep is not None:
        check_keep(arguments.keep)
    _check(arguments)
    serve(arguments.cron, _spec(arguments), arguments.keep)


def _doctor(arguments: argparse.Namespace) -> int:
    from flows.doctor import run

    return run(Path(), as_json=arguments.json)


def _prune(arguments: argparse.Namespace) -> int:
    from flows import prune

    old = prune.plan(Path(), arguments.keep)
    left = prune.remove(old) if arguments.yes else []
    print("\n".join(prune.told(old, removed=arguments.yes)), flush=True)
    if arguments.dvc:
        print(prune.collect_in_dvc(Path(), dry=not arguments.yes), flush=True)
    if left:
        raise prune.PruneError(f"all of it must go, but got {'; '.join(left)}. Try again later.")
    return 0


def _cost(arguments: argparse.Namespace) -> None:
    from tasks.cost_architectures import run

    check_writable(arguments.out)
    costed = run(
        arguments.space,
        arguments.architectures,
        arguments.device,
        arguments.out,
        arguments.classes,
        arguments.method,
    )
    print(f"{costed.count:,} architectures costed on {arguments.device}: {arguments.out}")
    if costed.has_energy:
        print("Energy is modelled, uncalibrated.")


def _calibrate(arguments: argparse.Namespace) -> None:
    from flows.calibration_text import told
    from hw.calibrating.fitting import CalibrationError
    from tasks.calibrate_device import run

    if (arguments.measurements is None) == (arguments.bench is None):
        got = "neither. Give one" if arguments.bench is None else "both. Leave one out"
        raise CalibrationError(
            "calibrate must have either --measurements, a table, or --bench with --space, but "
            f"got {got}."
        )
    check_writable(arguments.out)
    if arguments.bench is None:
        table, space = arguments.measurements, arguments.space
    else:
        table, space = _measured(arguments), None
    found = run(arguments.device, table, arguments.out, space, arguments.classes)
    print(told(found, arguments.out))


def _measured(arguments: argparse.Namespace) -> Path:
    """Measures what is missing; the table that has it all."""
    from hw.calibrating.calibration import LEAST_MEASUREMENTS
    from hw.calibrating.fitting import CalibrationError
    from hw.device import load_device
    from hw.family import family_of
    from hw.measuring.bench import BenchSettings
    from tasks.measure_networks import Plan, beside, run

    if arguments.space is None:
        raise CalibrationError("--bench must come with --space, whose networks it measures.")
    if arguments.networks < LEAST_MEASUREMENTS:
        raise CalibrationError(
            f"networks must be at least {LEAST_MEASUREMENTS}, as many as a fit needs, but got "
            f"{arguments.networks}."
        )
    # A compiler of many chips compiles for the device, if it is one of them.
    is_its = family_of(load_device(arguments.device)).compiler == arguments.bench
    device = arguments.device if is_its else None
    settings = BenchSettings(
        arguments.runs, arguments.threads, timeout_s=arguments.timeout, device=device
    )
    plan = Plan(
        arguments.space,
        arguments.bench,
        arguments.device,
        arguments.networks,
        arguments.seed,
        arguments.classes,
        settings,
        *beside(arguments.out),
    )
    rows = run(plan, lambda line: print(line, flush=True))
    failed = sum(bool(row.failed) for row in rows)
    if failed:
        print(f"{failed} of {len(rows)} networks failed; the reasons are in {plan.table}")
    return plan.table


def _kit(arguments: argparse.Namespace) -> None:
    from tasks.write_kit import run

    check_writable(arguments.out)
    files = run(
        arguments.device,
        arguments.space,
        arguments.networks,
        arguments.seed,
        arguments.classes,
        arguments.out,
    )
    print(f"{len(files)} networks of {arguments.space}, and how to measure them: {arguments.out}")


def _bundle(arguments: argparse.Namespace) -> None:
    from tasks.bundle_finalist import run
    from tasks.run.params_file import load_params
    from tasks.run.progress import ConsoleProgress
    from tasks.shipping.card import Licence

    workspace = Workspace.of(arguments.profile)
    params = load_params(Path("params.yaml"), arguments.profile, arguments.overrides)
    check_writable(arguments.out)
    licence = Licence(arguments.licence, arguments.data_licence, arguments.author)
    run(
        arguments.id,
        arguments.out,
        params,
        arguments.profile,
        workspace,
        licence,
        Path(),
        ConsoleProgress(),
    )
    print(f"Ready to ship: {arguments.out}. Its README.md says how to run it.")


def _ui(arguments: argparse.Namespace) -> None:
    from flows.ui import main

    check_writable(_KEPT, *(_KEPT / name for name in ("mlflow", "prefect")))
    main()


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "run": _run,
    "check": _look_ahead,
    "status": _status,
    "dvc": _dvc,
    "schedule": _schedule,
    "cost": _cost,
    "calibrate": _calibrate,
    "kit": _kit,
    "bundle": _bundle,
    "doctor": _doctor,
    "prune": _prune,
    "ui": _ui,
}


def is_users_mistake(error: Exception) -> bool:
    """Whether ``error`` is a ``ValueError`` class of this project: bad input, not a defect."""
    return isinstance(error, ValueError) and type(error).__module__.split(".")[0] in _ROOMS


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit status.
    """
    utf8.be_lenient()
    arguments = parser().parse_args(argv)
    try:
        status = COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, e.g. head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as shells tell it
    except Exception as error:
        mistake = _mistake(error)
        if mistake is None:
            print(defect.told(f"flows {arguments.command}", error), file=sys.stderr)
            return 1
        print(f"error: {' '.join(mistake.split())}", file=sys.stderr)
        return 2
    return int(status or 0)


def _mistake(error: Exception) -> str | None:
    """What is wrong where a person can do something about it; None: a defect."""
    if is_users_mistake(error):
        return str(error)
    if isinstance(error, OSError) and error.errno in _FORBIDDEN and error.filename:
        return f"{error.filename} must be ours to use, but got: {error.strerror}."
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.partition(".")[0]
        if missing not in _ROOMS and importlib.util.find_spec(missing) is None:
            return (
                f"this Python must have the packages of requirements.lock, but {sys.executable} "
                f"has no {missing}: activate the environment with `. .venv/bin/activate`, or make "
                "it with `make setup`."
            )
    if shutil.disk_usage(".").free < _NO_ROOM_BYTES:  # databases have many words for it
        return f"the disk must have room for .edgenas, but it is full ({type(error).__name__})."
    return None


if __name__ == "__main__":
    utf8.ensure()
    sys.exit(main())
