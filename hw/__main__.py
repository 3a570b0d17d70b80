"""``python -m hw``: device profiles, and what a ``.tflite`` costs on them.

Takes well under a second; needs neither TensorFlow nor a device.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from hw.commands import estimating, inspecting, measuring
from spaces import defect

_ROOMS = ("hw.", "spaces.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0: done, 2: bad input, 1: a defect, both said in one line."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "inspect":
            print(inspecting.inspect(options))
        elif options.command == "measure":
            print(measuring.measure(options))
        else:
            print(estimating.run(options))
    except BrokenPipeError:
        sys.stderr.close()
    except KeyboardInterrupt:
        return 130  # as shells tell it
    except Exception as error:
        # Each mistake a user can make is a ValueError of a class of hw with a one-line message.
        if not isinstance(error, ValueError) or not type(error).__module__.startswith(_ROOMS):
            print(defect.told(f"hw {options.command}", error), file=sys.stderr)
            return 1
        print(f"hw: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hw", description="What a network costs on an Edge TPU."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    estimating.add_commands(commands)
    inspecting.add_command(commands)
    measuring.add_command(commands)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
