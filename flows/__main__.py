"""The project's command line: ``python -m flows run | check | status | dvc | schedule | ...``.

Prefect, MLflow and TensorFlow are imported inside the commands that use them, so that help and
mistakes are answered at once. Exit status: 0 done; 2 bad input, said in one line; 130 interrupted;
141 nobody reads what it prints; 1 a defect, in one line that names a file with its traceback.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from flows import utf8
from spaces import defect
from tasks.pipeline import dvc_pipeline
from tasks.pipeline.stages import STAGES, alone, check_reads
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
    from flows.given_servers import check_mlflow_variables
    from flows.proxies import spare_loopback
    from tasks.pipeline.preflight import check
    from tasks.run.params_file import load_params

    spare_loopback()
    spec, workspace = _spec(arguments), Workspace.of(arguments.profile)
    params = load_params(Path("params.yaml"), spec.profile, spec.overrides)
    check(params)
    kept = (_KEPT / name for name in ("log", "mlflow", "prefect"))
    check_writable(workspace.root, workspace.state, workspace.store, *kept)
    if spec.tracking:
        check_mlflow_variables(Path())
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


def _add_what_to_run(parser: argparse.ArgumentParser) -> None:
    _add_profile(parser)
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="values to use instead of those of params.yaml, e.g. search.budget=200",
    )


def _add_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile", metavar="NAME", help="a profile of params.yaml; its results go to runs/NAME/"
    )


def _add_cost(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--space", required=True, metavar="NAME", help="a search space")
    parser.add_argument(
        "--architectures",
        required=True,
        type=Path,
        metavar="FILE.csv",
        help="a table with the column architecture: JSON, the space's usual text, or a baseline",
    )
    parser.add_argument(
        "--device", required=True, metavar="D", help="name of a profile, or path to its YAML file"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="OUT.csv", help="the table with its costs"
    )
    parser.add_argument(
        "--classes",
        type=int,
        metavar="N",
        help="of the head; default: as many as the published networks had, 10 for small pictures",
    )
    parser.add_argument(
        "--method",
        "--cost-model",
        dest="method",
        default="analytic",
        metavar="NAME",
        help="the cost model, as cost.method: analytic (default), compiled or macs_only",
    )
    parser.set_defaults(call=_cost)


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m flows", description="Search for networks.")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="the whole flow, or one stage; resumes what was cut off")
    _add_what_to_run(run)
    run.add_argument("--stage", choices=STAGES, help="only this stage, from the results before it")
    run.add_argument(
        "--no-tracking", dest="tracking", action="store_false", help="log nothing to MLflow"
    )
    run.set_defaults(call=_run)

    check = commands.add_parser(
        "check", help="what to know before a run: data, networks, time; trains nothing"
    )
    _add_what_to_run(check)
    check.set_defaults(call=_look_ahead)

    status = commands.add_parser("status", help="how far the search is")
    _add_profile(status)
    status.set_defaults(call=_status)

    dvc = commands.add_parser("dvc", help="write the dvc.yaml of a profile, for dvc repro")
    dvc.add_argument(
        "--profile", required=True, metavar="NAME", help="a profile; its file is in runs/NAME/"
    )
    dvc.set_defaults(call=_dvc)

    schedule = commands.add_parser("schedule", help="serve the flow on a schedule, until Ctrl-C")
    schedule.add_argument(
        "--cron", required=True, help='five fields in the time zone UTC, e.g. "0 3 * * *"'
    )
    _add_what_to_run(schedule)
    schedule.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="after each run prune to N of each name (default: all)",
    )
    schedule.set_defaults(call=_schedule)

    _add_cost(commands.add_parser("cost", help="cost many architectures without training them"))
    _add_calibrate(commands.add_parser("calibrate", help="fit a device profile to measurements"))

    _add_kit(commands.add_parser("kit", help="networks and a script to measure them on a board"))
    _add_bundle(commands.add_parser("bundle", help="put a finalist into a folder that one ships"))

    doctor = commands.add_parser(
        "doctor", help="what is wrong with servers, stores, disk, versions"
    )
    doctor.add_argument("--json", action="store_true", help="print it as JSON")
    doctor.set_defaults(call=_doctor)

    prune = commands.add_parser("prune", help="what of old runs may go; --yes removes it")
    prune.add_argument(
        "--keep",
        type=int,
        default=10,
        metavar="N",
        help="runs of each name that stay (default 10)",
    )
    prune.add_argument("--yes", action="store_true", help="remove it; else it is only told")
    prune.add_argument(
        "--dvc", action="store_true", help="also DVC's cache: what no commit names; takes longer"
    )
    prune.set_defaults(call=_prune)

    ui = commands.add_parser("ui", help="the Prefect and MLflow pages on loopback, until Ctrl-C")
    ui.set_defaults(call=_ui)
    return top


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", required=True, metavar="D", help="profile to start from, or path to its YAML"
    )
    parser.add_argument(
        "--measurements",
        type=Path,
        metavar="FILE.csv",
        help="columns latency_ms, and tflite (path relative to the table) or architecture",
    )
    parser.add_argument(
        "--bench",
        metavar="NAME",
        help="instead: measure networks of --space now (host_cpu, vela, ...); goes on where it "
        "was stopped",
    )
    parser.add_argument("--space", metavar="NAME", help="of the architectures")
    _add_design(parser)
    parser.add_argument(
        "--runs", type=int, default=100, help="warm inferences on a bench (default 100)"
    )
    parser.add_argument("--threads", type=int, default=1, help="of the processor (default 1)")
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="a network (default 600)"
    )
    parser.add_argument(
        "--classes", type=int, metavar="N", help="of the architectures' heads (default: as cost)"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PROFILE.yaml", help="the fitted profile"
    )
    parser.set_defaults(call=_calibrate)


def _add_kit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", required=True, metavar="D", help="profile to choose networks by"
    )
    parser.add_argument("--space", required=True, metavar="NAME", help="a search space")
    _add_design(parser)
    parser.add_argument("--classes", type=int, metavar="N", help="of the heads (default: as cost)")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder")
    parser.set_defaults(call=_kit, networks=20)


def _add_design(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--networks", type=int, default=60, metavar="N", help="to measure (default 60)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default 0)")


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "id", metavar="ID", help="of a finalist, or the beginning of it, its name, or: best"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="a folder that is not there yet"
    )
    _add_what_to_run(parser)
    parser.add_argument("--licence", metavar="TEXT", help="of the model, for its card")
    parser.add_argument("--data-licence", metavar="TEXT", help="of the data, for the card")
    parser.add_argument("--author", metavar="TEXT", help="of the model, for its card")
    parser.set_defaults(call=_bundle)


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
        status = arguments.call(arguments)
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
    if shutil.disk_usage(".").free < _NO_ROOM_BYTES:  # databases have many words for it
        return f"the disk must have room for .edgenas, but it is full ({type(error).__name__})."
    return None


if __name__ == "__main__":
    utf8.ensure()
    sys.exit(main())
