"""Which run is meant: what a person says on the command line, or a schedule every night."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run as it is asked for; made of builtins, so that Prefect can keep and show it.

    Attributes:
        profile: A profile of ``params.yaml``; None: the default.
        overrides: ``block.key=value`` each, laid over the profile for this run alone.
        tracking: Whether MLflow is told.
    """

    profile: str | None = None
    overrides: tuple[str, ...] = ()
    tracking: bool = True

    @property
    def name(self) -> str:
        """What people call it."""
        return self.profile or "default"

    @property
    def is_as_written(self) -> bool:
        """Whether no parameter is set for this run alone: what DVC versions."""
        return not self.overrides
