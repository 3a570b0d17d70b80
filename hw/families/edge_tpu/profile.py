"""What a device is: chip, link, host, compiler, and what was fitted to it; records alone.

A profile is chip + link + host, never "the Edge TPU": the same chip is 0.09 ms away over PCIe and
0.37 ms over USB 2. The unit of each number stands at its field; :mod:`hw.device` reads the files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _unit(unit: str) -> Any:
    return field(metadata={"unit": unit})


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

    clock_mhz: float = _unit("MHz")
    tile_rows: int = _unit("tiles")
    tile_columns: int = _unit("tiles")
    output_lanes: int = _unit("lanes")
    input_lanes: int = _unit("lanes")
    depthwise_factor: float = _unit("ratio")
    pool_factor: float = _unit("ratio")
    element_cycles: float = _unit("cycles")
    small_window_factor: float = _unit("ratio")
    narrow_memory_bytes: int = _unit("B")
    wide_memory_bytes: int = _unit("B")
    overflow_bytes: int = _unit("B")
    large_window_bytes: int = _unit("B")
    tiled_map_bytes: int = _unit("B")
    instruction_bytes_per_op: int = _unit("B")
    activation_gb_per_s: float = _unit("GB/s")
    overflow_gb_per_s: float = _unit("GB/s")
    weight_gb_per_s: float = _unit("GB/s")
    convolution_us: float = _unit("us")
    window_us: float = _unit("us")
    elementwise_us: float = _unit("us")
    pool_us: float = _unit("us")
    movement_us: float = _unit("us")


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

    fixed_ms: float = _unit("ms")
    input_mb_per_s: float = _unit("MB/s")
    output_mb_per_s: float = _unit("MB/s")
    output_channels: int = _unit("channels")
    streaming_ms_per_mib: float = _unit("ms/MiB")
    first_inference_ms: float = _unit("ms")


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

    gmacs_per_s: float = _unit("GMAC/s")
    elements_per_us: float = _unit("elements/us")
    scores_per_us: float = _unit("scores/us")
    pairs_per_us: float = _unit("pairs/us")
    op_us: float = _unit("us")


@dataclass(frozen=True, slots=True)
class Energy:
    """A modelled energy table: uncalibrated, as no measurement of the chip alone is public.

    Attributes:
        mac_pj: Of one multiply-accumulate at full rate.
        streamed_byte_pj: Of one byte of weights moved over the link.
        idle_w: Drawn for as long as an inference lasts.
    """

    mac_pj: float = _unit("pJ")
    streamed_byte_pj: float = _unit("pJ/B")
    idle_w: float = _unit("W")


@dataclass(frozen=True, slots=True)
class MacsLine:
    """Latency as a straight line in multiply-accumulates: the baseline to beat.

    Attributes:
        fixed_ms: At no MACs.
        slope_ms_per_gmac: For 1e9 of them.
    """

    fixed_ms: float = _unit("ms")
    slope_ms_per_gmac: float = _unit("ms/GMAC")


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

    rules: str = _unit("name")
    grouped_convolution: str = _unit("split|native")
    subgraphs: str = _unit("one|several")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the profile's coefficients were fitted to, and how well.

    Attributes:
        measurements: Which, in words.
        count: How many networks.
        mape_percent: Mean absolute error of latency, cross-validated, as the three that follow.
        within_10_percent: Share of networks estimated within 10 % of what was measured.
        spearman, kendall: Rank correlations.
        error_90: 90 % quantile of the absolute error, as logarithm of a ratio.
        feature_low, feature_high: Range of their :mod:`hw.families.edge_tpu.features`.
        residual_scale: By which features are divided.
        residual_length: Of the kernel, in scaled features.
        residual_centres: Features of the networks that the correction interpolates between.
        residual_weights: Of these networks; empty: no correction.
    """

    measurements: str = _unit("text")
    count: int = _unit("networks")
    mape_percent: float = _unit("%")
    within_10_percent: float = _unit("share")
    spearman: float = _unit("correlation")
    kendall: float = _unit("correlation")
    error_90: float = _unit("log ratio")
    feature_low: tuple[float, ...] = _unit("features")
    feature_high: tuple[float, ...] = _unit("features")
    residual_scale: tuple[float, ...] = _unit("features")
    residual_length: float = _unit("scaled features")
    residual_centres: tuple[tuple[float, ...], ...] = _unit("features")
    residual_weights: tuple[float, ...] = _unit("log ratio")


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
SIGNED = frozenset({"spearman", "kendall"})
DIVISORS = frozenset(
    (
        "clock_mhz tile_rows tile_columns output_lanes input_lanes tiled_map_bytes "
        "activation_gb_per_s overflow_gb_per_s weight_gb_per_s input_mb_per_s output_mb_per_s "
        "gmacs_per_s elements_per_us scores_per_us pairs_per_us residual_length"
    ).split()
)
"""Leaves by which something is divided."""
CHOICES = {"grouped_convolution": ("split", "native"), "subgraphs": ("one", "several")}
