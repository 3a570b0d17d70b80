"""What this room is made of: devices, their families, cost models and benches.

A device is a record that its family reads from a file. The family says how it is costed; whoever
asks needs to know no more of it than stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, runtime_checkable

from numpy.typing import NDArray

from hw.columns import FloatArray
from hw.report import CostReport
from spaces.graph import IntArray, OpBatch, OpGraph

if TYPE_CHECKING:
    from hw.fitted import Calibration, MacsLine
    from hw.tflite.model import TfliteModel


class Device(Protocol):
    """A device, as its family has read it; a frozen dataclass with more of the family's own."""

    @property
    def name(self) -> str:
        """Stem of the file."""

    @property
    def summary(self) -> str:
        """One line for listings."""

    @property
    def family(self) -> str:
        """Name of the folder in ``hw/families``."""

    @property
    def macs_line(self) -> MacsLine | None:
        """The baseline of cost models; None: ``macs_only`` cannot cost it."""

    @property
    def energy(self) -> object | None:
        """The family's table; None: estimates have no energy."""

    @property
    def calibration(self) -> Calibration | None:
        """None: estimates have no interval."""

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Of each number of its file, ``("chip.clock_mhz", "...")``."""


class CostModel(Protocol):
    """Cost without a device at hand."""

    def estimate(self, graph: OpGraph, refused: Mapping[str, str] | None = None) -> CostReport:
        """Cost of one network.

        Grouped convolutions are costed in the form in which the device runs them (see
        :meth:`Family.splits_groups`), whichever form the graph holds. ``refused`` names ops that
        stay on the host for reasons a graph does not show (data types), with the reason.
        """

    def estimate_many(self, batch: OpBatch) -> Mapping[str, FloatArray]:
        """Columns by the names of :class:`CostReport`'s number fields, one row an architecture."""


class Bench(Protocol):
    """A compiler or a board at hand."""

    @property
    def summary(self) -> str:
        """One line for listings."""

    @property
    def version(self) -> str:
        """Of the package that it measures with; empty: it has none, or it is not there."""

    @property
    def concurrent(self) -> bool:
        """Whether several files may be measured at once: nothing is timed."""

    def missing(self) -> str | None:
        """What this machine must have for it and has not; None: it can measure."""

    def measure(self, tflite: Path) -> CostReport:
        """Cost of one ``.tflite`` file as observed."""


@runtime_checkable
class RunningBench(Bench, Protocol):
    """A bench that runs a file, and can tell what comes out."""

    def outputs(self, tflite: Path, samples: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Outputs ``[n, ...]`` in the file's order and types, for inputs that are likewise."""


@runtime_checkable
class CompilingBench(Bench, Protocol):
    """A bench that is a compiler, and can leave what it makes."""

    def fits(self, device: Device) -> bool:
        """Whether it compiles for that device."""

    def written(self, tflite: Path, folder: Path) -> Path:
        """Compile into a folder, and tell the path of what runs on the device."""


D = TypeVar("D", bound=Device)
Asked = TypeVar("Asked", bound=Device, contravariant=True)


class Family(Protocol[D]):
    """A family of accelerators: ``FAMILY`` of ``hw/families/<name>/family.py``.

    All that is particular to it lies in its folder; nothing else imports from there, but benches
    and commands that are its own.
    """

    @property
    def laws(self) -> Laws[D, Any] | None:
        """What a calibration fits; None: devices of this family cannot be calibrated."""

    @property
    def advice(self) -> Advice[D] | None:
        """What ``estimate`` and ``explain`` say beside the report; None: nothing."""

    @property
    def compiler(self) -> str | None:
        """The bench that compiles for it and estimates a latency; None: there is none."""

    def parse(self, name: str, summary: str, content: Mapping[str, Any], where: str) -> D:
        """A device from the sections of its file; ``where`` opens each message.

        Raises:
            DeviceError: The file does not say what it must.
        """

    def sections(self, device: D) -> Mapping[str, Any]:
        """What :meth:`parse` reads back as ``device``."""

    def cost_model(self, device: D) -> CostModel:
        """The family's own, which is called ``analytic``.

        Raises:
            CostModelError: The device is none that it can cost.
        """

    def splits_groups(self, device: D) -> bool:
        """Whether files for it hold group convolutions as SPLIT, convolutions, CONCATENATION."""

    def several_subgraphs(self, device: D) -> D:
        """``device``, as its compiler works with the option ``-a``.

        Raises:
            DeviceError: It has no such option.
        """

    def check_accepted(self, model: TfliteModel, device: D) -> None:
        """Check that the device runs the file at all, if some of it on the host.

        Raises:
            TfliteError: It does not; the message says why, and the cure.
        """

    def refused(self, model: TfliteModel, device: D) -> Mapping[str, str]:
        """Ops of the file that stay on the host for what a graph does not show, with reasons."""


class Advice(Protocol[Asked]):
    """What a family knows beside the cost of a network."""

    def supposed(
        self, report: CostReport, graph: OpGraph, refused: Mapping[str, str], device: Asked
    ) -> CostReport:
        """The family's own estimate of ``graph``, with what it takes for granted."""

    def changes(
        self, graph: OpGraph, refused: Mapping[str, str], device: Asked, report: CostReport
    ) -> tuple[str, ...]:
        """What would help most, the best first, in sentences."""


class Networks(Protocol):
    """Networks as the laws of a family see them, ``n`` of them.

    They depend on nothing that a calibration changes: they are made once and costed as often as
    coefficients change.
    """

    @property
    def macs(self) -> FloatArray:
        """Multiply-accumulates, ``[n]``."""

    def rows(self, which: IntArray) -> Self:
        """Some of them."""


N = TypeVar("N", bound=Networks)


class Laws(Protocol[Asked, N]):
    """How latency follows from coefficients of a device."""

    @property
    def coefficients(self) -> Mapping[str, float]:
        """What is fitted, and how uncertain it is: the standard deviation of its logarithm.

        Keys are ``section.field`` of the device, e.g. ``"chip.clock_mhz"``. Those that begin with
        ``chip.`` may be fitted to several devices together.
        """

    def place(
        self, graphs: Sequence[OpGraph], device: Asked, refused: Sequence[Mapping[str, str]]
    ) -> N:
        """Networks of any kind; ``refused`` as in :meth:`CostModel.estimate`, of each of them."""

    def latency_ms(self, networks: N, device: Asked) -> FloatArray:
        """By the laws alone, ``[n]``."""

    @property
    def known_by(self) -> tuple[str, ...]:
        """Names of the :meth:`features`."""

    def features(self, networks: N, device: Asked) -> FloatArray:
        """What a calibration knows networks by, ``[n, f]``: it corrects between them."""
