"""The Edge TPU: Coral boards, cards and sticks, and the Tensor chips of Pixel phones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from hw.families.edge_tpu.profile import OPTIONAL_SECTIONS, SECTIONS, Device
from hw.fitted import check_lists
from hw.leaves import read_named, read_sections, written_sections
from hw.protocols import Advice, Family, Laws
from hw.report import CostReport
from spaces.graph import OpGraph

if TYPE_CHECKING:
    from hw.columns import FloatArray
    from hw.families.edge_tpu.analytic import Analytic
    from hw.families.edge_tpu.placement import Placement
    from hw.tflite.model import TfliteModel

CHIPS = Path(__file__).parent / "chips"
"""Profiles that share a chip name it (``chip: coral``); one that was calibrated has its own."""


@final
class EdgeTpu:
    """The family; what its commands seldom need is imported where it is used."""

    @property
    def laws(self) -> Laws[Device, Placement]:
        """Physical laws, op by op."""
        return EdgeTpuLaws()

    @property
    def advice(self) -> Advice[Device]:
        """Suppositions about the compiler, and changes to a network."""
        return EdgeTpuAdvice()

    @property
    def compiler(self) -> None:
        """Google's compiler tells no time."""
        return None

    def parse(self, name: str, summary: str, content: Mapping[str, Any], where: str) -> Device:
        """A profile; its chip may be the name of a file of :data:`CHIPS`."""
        from hw.families.edge_tpu.features import FEATURES

        top = dict(content)
        if isinstance(top.get("chip"), str):
            top["chip"] = read_named("chip", CHIPS, top["chip"], where)
        sections, sources = read_sections(top, SECTIONS, OPTIONAL_SECTIONS, where)
        device = Device(name=name, summary=summary, sources=sources, **sections)
        if device.calibration is not None:
            check_lists(device.calibration, len(FEATURES), where)
        return device

    def sections(self, device: Device) -> Mapping[str, Any]:
        """As :meth:`parse` reads them back, the chip written out."""
        return written_sections(device, SECTIONS, dict(device.sources))

    def cost_model(self, device: Device) -> Analytic:
        """Physical laws and what a calibration learned beside them."""
        from hw.families.edge_tpu.analytic import Analytic

        return Analytic(device)

    def splits_groups(self, device: Device) -> bool:
        """As the profile's compiler has it."""
        return device.compiler.grouped_convolution == "split"

    def several_subgraphs(self, device: Device) -> Device:
        """As with ``edgetpu_compiler -a``."""
        compiler = dataclasses.replace(device.compiler, subgraphs="several")
        return dataclasses.replace(device, compiler=compiler)

    def check_accepted(self, model: TfliteModel, device: Device) -> None:
        """By the rules of the profile's compiler."""
        from hw.families.edge_tpu.acceptance import check_accepted

        check_accepted(model, device.compiler.rules, not self.splits_groups(device))

    def refused(self, model: TfliteModel, device: Device) -> Mapping[str, str]:
        """Data types, and convolutions with groups where the compiler takes none."""
        from hw.families.edge_tpu.mapping import native_groups

        refused = dict(model.unsupported)
        return refused | native_groups(model.graph) if self.splits_groups(device) else refused


@final
class EdgeTpuLaws:
    """What :mod:`hw.calibrating` fits and corrects."""

    @property
    def coefficients(self) -> Mapping[str, float]:
        """See :data:`hw.families.edge_tpu.coefficients.COEFFICIENTS`."""
        from hw.families.edge_tpu.coefficients import COEFFICIENTS

        return COEFFICIENTS

    def place(
        self, graphs: Sequence[OpGraph], device: Device, refused: Sequence[Mapping[str, str]]
    ) -> Placement:
        """Ops on TPU or host."""
        from hw.families.edge_tpu.placement import place

        return place(graphs, device, refused)[0]

    def latency_ms(self, networks: Placement, device: Device) -> FloatArray:
        """The sum of the parts."""
        from hw.families.edge_tpu.parts import parts_of

        return parts_of(networks, device).latency_ms

    @property
    def known_by(self) -> tuple[str, ...]:
        """See :data:`hw.families.edge_tpu.features.FEATURES`."""
        from hw.families.edge_tpu.features import FEATURES

        return FEATURES

    def features(self, networks: Placement, device: Device) -> FloatArray:
        """Counts of ops, and time in each part."""
        from hw.families.edge_tpu.features import features
        from hw.families.edge_tpu.parts import parts_of

        return features(networks, parts_of(networks, device))


@final
class EdgeTpuAdvice:
    """What the commands say beside the report."""

    def supposed(
        self, report: CostReport, graph: OpGraph, refused: Mapping[str, str], device: Device
    ) -> CostReport:
        """Ops that nothing shows to map: see :mod:`hw.families.edge_tpu.suppositions`."""
        from hw.families.edge_tpu.suppositions import with_suppositions

        return with_suppositions(report, graph, refused, device)

    def changes(
        self, graph: OpGraph, refused: Mapping[str, str], device: Device, report: CostReport
    ) -> tuple[str, ...]:
        """Those that would save most: see :mod:`hw.families.edge_tpu.advice`."""
        from hw.families.edge_tpu.advice import changes

        return tuple(change.text for change in changes(graph, refused, device, report))


FAMILY: Family[Device] = EdgeTpu()
