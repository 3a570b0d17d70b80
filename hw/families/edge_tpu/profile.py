"""What an Edge TPU is: chip, link, host, compiler, and what was fitted to it; records alone.

A profile is chip + link + host, never "the Edge TPU": the same chip is 0.09 ms away over PCIe and
0.37 ms over USB 2. The unit of each number stands at its field; :mod:`hw.leaves` reads the files.
"""

from __future__ import annotations

from dataclasses import dataclass

from hw.fitted import Calibration, MacsLine
from hw.leaves import leaf

FAMILY = "edge_tpu"


@dataclass(frozen=True, slots=True)
class Chip:
    """The accelerator itself.

    Attributes:
        clock_mhz: Of the compute grid.
        tile_rows: Tiles that share the height of a map.
        tile_columns: Tiles that share its width.
        output_lanes: Output channels that a tile computes at once.
        input_lanes: Products that an output lane adds in a cycle.
        depthwise_factor: Cycles of a depthwise convolution over the lane law's.
        pool_factor: The same of pooling, averaging and interpolation.
        element_cycles: Of a tile for one element, in each step of an element-wise op, SOFTMAX,
            ARG_MAX or TRANSPOSE; 0: moving is all that they cost.
        small_window_factor: The same of a convolution of 2 to 5 taps a side.
        narrow_memory_bytes: For activations, all tiles.
        wide_memory_bytes: For weights and activations that overflow, all tiles.
        overflow_bytes: The most that activations may take of wide memory.
        large_window_bytes: Of wide memory, taken by a network with a convolution of 7 or more taps
            a side at stride 1.
        tiled_map_bytes: Operands of an op above which its map is worked on in several passes.
        instruction_bytes_per_op: Sent with every call. They take no room from weights: logs of
            stacks 10 to 900 layers deep report the same memory for them.
        activation_gb_per_s: Between memory and lanes, input and output, in words of all lanes.
        overflow_gb_per_s: The same once more, for operands that exceed narrow memory.
        weight_gb_per_s: From wide memory to lanes.
        convolution_us: Start of a convolution or dense op.
        window_us: More of that for each row of the window beyond the first (exchange of borders).
        elementwise_us: Start of ADD, MUL and other element-wise ops.
        pool_us: Start of a pooling or averaging op.
        movement_us: Start of SPLIT, CONCATENATION, resize and other ops that only move data.
    """

    clock_mhz: float = leaf("MHz", divides=True)
    tile_rows: int = leaf("tiles", divides=True)
    tile_columns: int = leaf("tiles", divides=True)
    output_lanes: int = leaf("lanes", divides=True)
    input_lanes: int = leaf("lanes", divides=True)
    depthwise_factor: float = leaf("ratio")
    pool_factor: float = leaf("ratio")
    element_cycles: float = leaf("cycles")
    small_window_factor: float = leaf("ratio")
    narrow_memory_bytes: int = leaf("B")
    wide_memory_bytes: int = leaf("B")
    overflow_bytes: int = leaf("B")
    large_window_bytes: int = leaf("B")
    tiled_map_bytes: int = leaf("B", divides=True)
    instruction_bytes_per_op: int = leaf("B")
    activation_gb_per_s: float = leaf("GB/s", divides=True)
    overflow_gb_per_s: float = leaf("GB/s", divides=True)
    weight_gb_per_s: float = leaf("GB/s", divides=True)
    convolution_us: float = leaf("us")
    window_us: float = leaf("us")
    elementwise_us: float = leaf("us")
    pool_us: float = leaf("us")
    movement_us: float = leaf("us")


@dataclass(frozen=True, slots=True)
class Link:
    """What lies between host memory and chip.

    Attributes:
        fixed_ms: Of one call, and of each further subgraph.
        input_mb_per_s: Host to device, activations.
        output_mb_per_s: Device to host, channels padded to ``output_channels``.
        output_channels: The least channels of a map in the output layout.
        streaming_ms_per_mib: Host to device, instructions at every inference, and weights that do
            not fit on chip.
        first_inference_ms: What the first call costs more, beside loading the weights.
    """

    fixed_ms: float = leaf("ms")
    input_mb_per_s: float = leaf("MB/s", divides=True)
    output_mb_per_s: float = leaf("MB/s", divides=True)
    output_channels: int = leaf("channels")
    streaming_ms_per_mib: float = leaf("ms/MiB")
    first_inference_ms: float = leaf("ms")


@dataclass(frozen=True, slots=True)
class Host:
    """The CPU that runs what the compiler leaves.

    Attributes:
        gmacs_per_s: Quantized convolution and dense ops, in 1e9 multiply-accumulates a second.
        elements_per_us: Everything else, elements of all inputs and of the output together.
        scores_per_us: Post-processing of detections, in class scores of all anchors.
        pairs_per_us: The same once more, in pairs of an anchor and a detection: each detection is
            compared with what is left.
        op_us: Start of an op.
    """

    gmacs_per_s: float = leaf("GMAC/s", divides=True)
    elements_per_us: float = leaf("elements/us", divides=True)
    scores_per_us: float = leaf("scores/us", divides=True)
    pairs_per_us: float = leaf("pairs/us", divides=True)
    op_us: float = leaf("us")


@dataclass(frozen=True, slots=True)
class Energy:
    """A modelled energy table: uncalibrated, as no measurement of the chip alone is public.

    Attributes:
        mac_pj: Of one multiply-accumulate at full rate.
        streamed_byte_pj: Of one byte of weights moved over the link.
        idle_w: Drawn for as long as an inference lasts.
    """

    mac_pj: float = leaf("pJ")
    streamed_byte_pj: float = leaf("pJ/B")
    idle_w: float = leaf("W")


@dataclass(frozen=True, slots=True)
class Compiler:
    """What the device's compiler does with a network.

    Attributes:
        rules: Name of the support rules in :mod:`hw.families.edge_tpu.mapping`.
        grouped_convolution: ``"split"``: as SPLIT, one convolution a group, CONCATENATION;
            ``"native"``: as one op.
        subgraphs: ``"one"``: after the first op that cannot be mapped everything stays on the
            host; ``"several"``: the compiler's ``-a``, each crossing between host and TPU a call.
    """

    rules: str = leaf("name")
    grouped_convolution: str = leaf("split|native", choices=("split", "native"))
    subgraphs: str = leaf("one|several", choices=("one", "several"))


@dataclass(frozen=True, slots=True)
class Device:
    """A profile.

    Attributes:
        name: Stem of the file.
        summary: One line for listings.
        compiler, chip, link, host, macs_line: The sections.
        energy: None where the file has no such section.
        calibration: None where the file has no such section; then estimates have no interval.
        sources: Of each leaf, ``("chip.clock_mhz", "...")``.
        family: This one.
    """

    name: str
    summary: str
    compiler: Compiler
    chip: Chip
    link: Link
    host: Host
    macs_line: MacsLine
    energy: Energy | None
    calibration: Calibration | None
    sources: tuple[tuple[str, str], ...]
    family: str = FAMILY


SECTIONS: dict[str, type] = {
    "compiler": Compiler,
    "chip": Chip,
    "link": Link,
    "host": Host,
    "macs_line": MacsLine,
    "energy": Energy,
    "calibration": Calibration,
}
OPTIONAL_SECTIONS = ("energy", "calibration")
