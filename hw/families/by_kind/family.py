"""A processor, a phone or an accelerator whose laws nobody told: rates by kind of op.

Its numbers mean little before a calibration, which finds them all: ``python -m flows calibrate
--device any_processor --bench host_cpu --space NAME --out my.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from hw.families.by_kind.profile import OPTIONAL_SECTIONS, SECTIONS, Device
from hw.fitted import check_lists
from hw.leaves import DeviceError, read_sections, written_sections
from hw.protocols import Family, Laws
from hw.tflite.model import TfliteError
from spaces.graph import OpBatch, OpGraph

if TYPE_CHECKING:
    from hw.columns import FloatArray
    from hw.families.by_kind.analytic import Analytic
    from hw.families.by_kind.parts import Counted
    from hw.tflite.model import TfliteModel


@final
class ByKind:
    """The family; what its commands seldom need is imported where it is used."""

    @property
    def laws(self) -> Laws[Device, Counted]:
        """One rate a kind of op."""
        return ByKindLaws()

    @property
    def advice(self) -> None:
        """Nothing beside the report."""
        return None

    @property
    def compiler(self) -> None:
        """Nobody told of one."""
        return None

    def parse(self, name: str, summary: str, content: Mapping[str, Any], where: str) -> Device:
        """A profile."""
        from hw.families.by_kind.parts import FEATURES

        sections, sources = read_sections(content, SECTIONS, OPTIONAL_SECTIONS, where)
        device = Device(name=name, summary=summary, sources=sources, **sections)
        if device.calibration is not None:
            check_lists(device.calibration, len(FEATURES), where)
        return device

    def sections(self, device: Device) -> Mapping[str, Any]:
        """As :meth:`parse` reads them back."""
        return written_sections(device, SECTIONS, dict(device.sources))

    def cost_model(self, device: Device) -> Analytic:
        """Rates, and what a calibration learned beside them."""
        from hw.families.by_kind.analytic import Analytic

        return Analytic(device)

    def splits_groups(self, device: Device) -> bool:
        """Processors take group convolutions as they are."""
        return False

    def several_subgraphs(self, device: Device) -> Device:
        """There is no compiler that one could ask."""
        raise DeviceError(
            f"{device.name}: -a must be of an Edge TPU, but got a device without a compiler. "
            "Leave it out."
        )

    def check_accepted(self, model: TfliteModel, device: Device) -> None:
        """Anything but what was compiled for an Edge TPU."""
        if model.compiled:
            raise TfliteError(
                f"{model.path}: must be the model before compilation, but got the output of "
                "edgetpu_compiler. Give the .tflite it was made of."
            )

    def refused(self, model: TfliteModel, device: Device) -> Mapping[str, str]:
        """Nothing: all ops run on it."""
        return {}


@final
class ByKindLaws:
    """What :mod:`hw.calibrating` fits and corrects."""

    @property
    def coefficients(self) -> Mapping[str, float]:
        """See :data:`hw.families.by_kind.parts.COEFFICIENTS`."""
        from hw.families.by_kind.parts import COEFFICIENTS

        return COEFFICIENTS

    def place(
        self, graphs: Sequence[OpGraph], device: Device, refused: Sequence[Mapping[str, str]]
    ) -> Counted:
        """All ops run on the device."""
        from hw.families.by_kind.parts import counted

        return counted(OpBatch.of(graphs))

    def latency_ms(self, networks: Counted, device: Device) -> FloatArray:
        """The sum over ops, and the call."""
        from hw.families.by_kind.parts import latency_ms

        return latency_ms(networks, device)

    @property
    def known_by(self) -> tuple[str, ...]:
        """See :data:`hw.families.by_kind.parts.FEATURES`."""
        from hw.families.by_kind.parts import FEATURES

        return FEATURES

    def features(self, networks: Counted, device: Device) -> FloatArray:
        """Counts of ops, and time in each part."""
        from hw.families.by_kind.parts import features

        return features(networks, device)


FAMILY: Family[Device] = ByKind()
