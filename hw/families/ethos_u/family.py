"""Arm's Ethos-U55, U65 and U85: chips, systems and memory modes that Vela compiles for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from hw.families.ethos_u.profile import OPTIONAL_SECTIONS, SECTIONS, Device
from hw.fitted import check_lists
from hw.leaves import DeviceError, read_named, read_sections, written_sections
from hw.protocols import Family, Laws
from spaces.graph import OpGraph

if TYPE_CHECKING:
    from hw.columns import FloatArray
    from hw.families.ethos_u.analytic import Analytic
    from hw.families.ethos_u.parts import Placement
    from hw.tflite.model import TfliteModel

HERE = Path(__file__).parent
FILES = {"chip": "chips", "system": "systems", "memory": "memories"}
"""Sections that may be the name of a file of a folder beside this module."""


@final
class EthosU:
    """The family; what its commands seldom need is imported where it is used."""

    @property
    def laws(self) -> Laws[Device, Placement]:
        """Stages and memories, op by op."""
        return EthosULaws()

    @property
    def advice(self) -> None:
        """Nothing beside the report."""
        return None

    @property
    def compiler(self) -> str:
        """Arm's."""
        return "vela"

    def parse(self, name: str, summary: str, content: Mapping[str, Any], where: str) -> Device:
        """A profile; its chip, system and memory may be names of files."""
        from hw.families.ethos_u.features import FEATURES

        top = dict(content)
        for section, folder in FILES.items():
            if isinstance(top.get(section), str):
                top[section] = read_named(section, HERE / folder, top[section], where)
        sections, sources = read_sections(top, SECTIONS, OPTIONAL_SECTIONS, where)
        device = Device(name=name, summary=summary, sources=sources, **sections)
        if device.calibration is not None:
            check_lists(device.calibration, len(FEATURES), where)
        return device

    def sections(self, device: Device) -> Mapping[str, Any]:
        """As :meth:`parse` reads them back, all written out."""
        return written_sections(device, SECTIONS, dict(device.sources))

    def cost_model(self, device: Device) -> Analytic:
        """Laws and what a calibration learned beside them."""
        from hw.families.ethos_u.analytic import Analytic

        return Analytic(device)

    def splits_groups(self, device: Device) -> bool:
        """It maps both forms, but fuses activations only into the parts of the split one."""
        return True

    def several_subgraphs(self, device: Device) -> Device:
        """Vela has no such option: it always makes as many parts as are needed."""
        raise DeviceError(
            f"{device.name}: -a must be of an Edge TPU, but got an Ethos-U, whose compiler makes "
            "as many parts of a network as are needed. Leave it out."
        )

    def check_accepted(self, model: TfliteModel, device: Device) -> None:
        """Something in it must have 8 bits."""
        from hw.families.ethos_u.acceptance import check_accepted

        check_accepted(model)

    def refused(self, model: TfliteModel, device: Device) -> Mapping[str, str]:
        """Data types."""
        return dict(model.unsupported)


@final
class EthosULaws:
    """What :mod:`hw.calibrating` fits and corrects."""

    @property
    def coefficients(self) -> Mapping[str, float]:
        """See :data:`hw.families.ethos_u.features.COEFFICIENTS`."""
        from hw.families.ethos_u.features import COEFFICIENTS

        return COEFFICIENTS

    def place(
        self, graphs: Sequence[OpGraph], device: Device, refused: Sequence[Mapping[str, str]]
    ) -> Placement:
        """Ops on accelerator or host, grouped convolutions split."""
        from hw.families.ethos_u.parts import place

        return place(graphs, device, refused)[0]

    def latency_ms(self, networks: Placement, device: Device) -> FloatArray:
        """The sum over ops."""
        from hw.families.ethos_u.parts import parts_of

        result: FloatArray = parts_of(networks, device).latency_ms.sum(axis=1)
        return result

    @property
    def known_by(self) -> tuple[str, ...]:
        """See :data:`hw.families.ethos_u.features.FEATURES`."""
        from hw.families.ethos_u.features import FEATURES

        return FEATURES

    def features(self, networks: Placement, device: Device) -> FloatArray:
        """Counts of ops, and time in each part."""
        from hw.families.ethos_u.features import features
        from hw.families.ethos_u.parts import parts_of

        return features(networks, parts_of(networks, device))


FAMILY: Family[Device] = EthosU()
