"""What an Ethos-U is: chip, the system around it, where tensors lie; records alone.

A profile names a file of each (``chips/``, ``systems/``, ``memories/``) or writes it out. The unit
of each number stands at its field; :mod:`hw.leaves` reads the files.
"""

from __future__ import annotations

from dataclasses import dataclass

from hw.fitted import Calibration, MacsLine
from hw.leaves import leaf

FAMILY = "ethos_u"


@dataclass(frozen=True, slots=True)
class Chip:
    """The accelerator itself.

    Attributes:
        accelerator: As Vela names it.
        microblocks: Height, width and channels of outputs that a convolution computes at once; of
            several the one that wastes least.
        depthwise_microblocks: The same of a depthwise convolution or a pooling.
        depth_channels: Input channels of a turn that goes through the depth first.
        depth_cycles: Cycles of such a turn, one tap of the window.
        kernel_channels: Input channels of a turn that goes through the window first, in steps of
            8 channels and 4 taps, each 4 cycles.
        kernel_taps: Taps of the window that weights are padded to in that order.
        element_bytes: Of a block of results and of the input it needs, in internal memory: each
            is held twice, results at 4 bytes.
        input_bytes: The most that inputs may have of it.
        accumulator_bytes: The most that results may have of it.
        block_rows, block_columns, block_channels: The most of a block.
        plain_cycles: Of the output stage, for one element of an op without activation.
        fused_cycles: The same with a ReLU.
        add_cycles: Of an element-wise ADD or SUB, for one element.
        multiply_cycles: Of MUL.
        maximum_cycles: Of MAXIMUM, MINIMUM and others that scale nothing.
        table_cycles: Of an activation by table.
        wide_cycles: Of a step of a 32-bit intermediate result.
        chains: 1: an element-wise op is done on the fly behind the op before it; 0: alone.
        padding_weight_bytes: What a padded weight takes in the encoded stream, where one weight
            takes a byte.
        scale_bytes: Bias, scale and shift of an output channel.
        port_bytes: Of one port to memory, each cycle.
        copy_words, input_words, weight_words, scale_words: Reads of 16 bytes under way at a time
            on the channel for copies, inputs, weights and scales; 0: the memory alone limits.
    """

    accelerator: str = leaf("name")
    microblocks: tuple[tuple[float, ...], ...] = leaf("elements")
    depthwise_microblocks: tuple[tuple[float, ...], ...] = leaf("elements")
    depth_channels: int = leaf("channels", divides=True)
    depth_cycles: int = leaf("cycles")
    kernel_channels: int = leaf("channels", divides=True)
    kernel_taps: int = leaf("taps", divides=True)
    element_bytes: int = leaf("B", divides=True)
    input_bytes: int = leaf("B", divides=True)
    accumulator_bytes: int = leaf("B", divides=True)
    block_rows: int = leaf("rows", divides=True)
    block_columns: int = leaf("columns", divides=True)
    block_channels: int = leaf("channels", divides=True)
    plain_cycles: float = leaf("cycles")
    fused_cycles: float = leaf("cycles")
    add_cycles: float = leaf("cycles")
    multiply_cycles: float = leaf("cycles")
    maximum_cycles: float = leaf("cycles")
    table_cycles: float = leaf("cycles")
    wide_cycles: float = leaf("cycles")
    chains: int = leaf("0|1")
    padding_weight_bytes: float = leaf("B")
    scale_bytes: int = leaf("B")
    port_bytes: int = leaf("B", divides=True)
    copy_words: int = leaf("words")
    input_words: int = leaf("words")
    weight_words: int = leaf("words")
    scale_words: int = leaf("words")


@dataclass(frozen=True, slots=True)
class System:
    """The clock, and the two memories.

    Attributes:
        name: As Vela names it.
        clock_mhz: Of the accelerator; bytes and latencies are counted in its cycles.
        outer: What the outer memory is.
        sram_scale, outer_scale: Share of a port's bytes that a cycle brings.
        sram_ports, outer_ports: Ports.
        sram_burst, outer_burst: Bytes of one read.
        sram_latency, outer_latency: Of one read.
        sram_reads, outer_reads: Under way at a time, each port.
    """

    name: str = leaf("name")
    clock_mhz: float = leaf("MHz", divides=True)
    outer: str = leaf("flash|dram", choices=("flash", "dram"))
    sram_scale: float = leaf("share", divides=True)
    sram_ports: int = leaf("ports", divides=True)
    sram_burst: int = leaf("B", divides=True)
    sram_latency: float = leaf("cycles", divides=True)
    sram_reads: int = leaf("reads", divides=True)
    outer_scale: float = leaf("share", divides=True)
    outer_ports: int = leaf("ports", divides=True)
    outer_burst: int = leaf("B", divides=True)
    outer_latency: float = leaf("cycles", divides=True)
    outer_reads: int = leaf("reads", divides=True)


@dataclass(frozen=True, slots=True)
class Memory:
    """Where tensors lie.

    Attributes:
        name: As Vela names the mode.
        weights: Of constants.
        maps: Of activations; in the outer memory those that fit come to SRAM all the same.
        cache_bytes: Of SRAM that the accelerator may use then.
    """

    name: str = leaf("name")
    weights: str = leaf("sram|outer", choices=("sram", "outer"))
    maps: str = leaf("sram|outer", choices=("sram", "outer"))
    cache_bytes: int = leaf("B")


@dataclass(frozen=True, slots=True)
class Host:
    """The processor that runs what the compiler leaves.

    Attributes:
        gmacs_per_s: Convolution and dense ops, in 1e9 multiply-accumulates a second.
        elements_per_us: Everything else, elements of input and output together.
    """

    gmacs_per_s: float = leaf("GMAC/s", divides=True)
    elements_per_us: float = leaf("elements/us", divides=True)


@dataclass(frozen=True, slots=True)
class Device:
    """A profile.

    Attributes:
        name: Stem of the file.
        summary: One line for listings.
        chip, system, memory, host: The sections.
        macs_line: None where the file has no such section.
        calibration: None likewise; then estimates have no interval.
        sources: Of each leaf, ``("chip.cores", "...")``.
        energy: Nothing is known of it.
        family: This one.
    """

    name: str
    summary: str
    chip: Chip
    system: System
    memory: Memory
    host: Host
    macs_line: MacsLine | None
    calibration: Calibration | None
    sources: tuple[tuple[str, str], ...]
    energy: None = None
    family: str = FAMILY


SECTIONS: dict[str, type] = {
    "chip": Chip,
    "system": System,
    "memory": Memory,
    "host": Host,
    "macs_line": MacsLine,
    "calibration": Calibration,
}
OPTIONAL_SECTIONS = ("macs_line", "calibration")
