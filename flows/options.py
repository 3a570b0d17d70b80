"""The commands of ``python -m flows`` and their options."""

from __future__ import annotations

import argparse
from pathlib import Path

from tasks.pipeline.stages import STAGES


def parser() -> argparse.ArgumentParser:
    """What ``parse_args`` is asked of; the name of the command is its ``command``."""
    top = argparse.ArgumentParser(prog="python -m flows", description="Search for networks.")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="the whole flow, or one stage; resumes what was cut off")
    _add_what_to_run(run)
    run.add_argument("--stage", choices=STAGES, help="only this stage, from the results before it")
    run.add_argument(
        "--no-tracking", dest="tracking", action="store_false", help="log nothing to MLflow"
    )

    check = commands.add_parser(
        "check", help="what to know before a run: data, networks, time; trains nothing"
    )
    _add_what_to_run(check)

    status = commands.add_parser("status", help="how far the search is")
    _add_profile(status)

    dvc = commands.add_parser("dvc", help="write the dvc.yaml of a profile, for dvc repro")
    dvc.add_argument(
        "--profile", required=True, metavar="NAME", help="a profile; its file is in runs/NAME/"
    )

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

    _add_cost(commands.add_parser("cost", help="cost many architectures without training them"))
    _add_calibrate(commands.add_parser("calibrate", help="fit a device profile to measurements"))

    _add_kit(commands.add_parser("kit", help="networks and a script to measure them on a board"))
    _add_bundle(commands.add_parser("bundle", help="put a finalist into a folder that one ships"))

    doctor = commands.add_parser(
        "doctor", help="what is wrong with servers, stores, disk, versions"
    )
    doctor.add_argument("--json", action="store_true", help="print it as JSON")

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

    commands.add_parser("ui", help="the Prefect and MLflow pages on loopback, until Ctrl-C")
    return top


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
    _add_design(parser, networks=60)
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


def _add_kit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", required=True, metavar="D", help="profile to choose networks by"
    )
    parser.add_argument("--space", required=True, metavar="NAME", help="a search space")
    _add_design(parser, networks=20)
    parser.add_argument("--classes", type=int, metavar="N", help="of the heads (default: as cost)")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder")


def _add_design(parser: argparse.ArgumentParser, networks: int) -> None:
    parser.add_argument(
        "--networks",
        type=int,
        default=networks,
        metavar="N",
        help=f"to measure (default {networks})",
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
