"""What is known of a device: chip, link, host, and where each number comes from.

A profile is chip + link + host, never "the Edge TPU": the same chip is 0.09 ms away over PCIe and
0.37 ms over USB 2. Each leaf of a profile file is ``{value, unit, source}``; the unit must be the
one that the field declares below, so a file cannot mean something else than the code does.
Profiles that share a chip name it (``chip: coral``, a file of ``hw/chips``); one that was
calibrated has its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEVICES = Path(__file__).parent / "devices"
CHIPS = Path(__file__).parent / "chips"
LEAF_KEYS = ("value", "unit", "source")


class DeviceError(ValueError):
    """A device that does not exist, or a profile that does not say what it must."""


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
        rules: Name of the support rules in :mod:`hw.mapping`.
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
        feature_low, feature_high: Range of :data:`hw.features.FEATURES` over the networks.
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


def device_names() -> tuple[str, ...]:
    """Names of the profiles that come with the project, sorted."""
    return tuple(sorted(path.stem for path in DEVICES.glob("*.yaml")))


def load_device(name: str | Path) -> Device:
    """The profile of that name, or of that path to a YAML file.

    Raises:
        DeviceError: There is none, or the file breaks a rule of the format.
    """
    text = str(name)
    if isinstance(name, Path) or text.endswith((".yaml", ".yml")) or "/" in text:
        path = Path(text)
    else:
        path = DEVICES / f"{text}.yaml"
    if not path.is_file():
        raise DeviceError(
            f"device must be one of {', '.join(device_names())}, or a path to a YAML file, "
            f"but got {text!r}."
        )
    return parse_device(path.stem, _read(path), str(path))


def _read(path: Path) -> object:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        what = " ".join(str(error).split())
        raise DeviceError(f"{path}: must be a readable YAML file, but got: {what}.") from None


def parse_device(name: str, content: object, where: str) -> Device:
    """A profile from the content of its file; ``where`` opens each message.

    Raises:
        DeviceError: A leaf lacks value, unit or source, or has the wrong unit; a key is unknown or
            missing.
    """
    top = dict(_mapping(content, where))
    _check_keys(top, ("summary", *SECTIONS), ("summary", *_required()), where)
    if isinstance(top["chip"], str):
        top["chip"] = _read_chip(top["chip"], where)
    sources: list[tuple[str, str]] = []
    sections: dict[str, Any] = {
        key: _section(kind, top[key], f"{where}: {key}", key, sources) if key in top else None
        for key, kind in SECTIONS.items()
    }
    summary = str(top["summary"])
    device = Device(name=name, summary=summary, sources=tuple(sources), **sections)
    if device.calibration is not None:
        _check_lists(device.calibration, where)
    return device


def _check_lists(calibration: Calibration, where: str) -> None:
    """Features have one length, and each centre one weight."""
    from hw.features import FEATURES

    centres = calibration.residual_centres
    lists = (calibration.feature_low, calibration.feature_high, calibration.residual_scale)
    lengths = {len(row) for row in (*lists, *centres)}
    if lengths != {len(FEATURES)} or len(centres) != len(calibration.residual_weights):
        raise DeviceError(
            f"{where}: calibration: lists of features must have {len(FEATURES)} numbers and each "
            f"centre a weight, but got lengths {sorted(lengths)}, {len(centres)} centres and "
            f"{len(calibration.residual_weights)} weights."
        )
    if min(calibration.residual_scale) <= 0:
        raise DeviceError(
            f"{where}: calibration.residual_scale: values must be above 0, but got "
            f"{min(calibration.residual_scale):g}."
        )


def _read_chip(name: str, where: str) -> object:
    names = sorted(path.stem for path in CHIPS.glob("*.yaml"))
    if name not in names:
        raise DeviceError(
            f"{where}: chip must be one of {', '.join(names)}, or a mapping, but got {name!r}."
        )
    return _read(CHIPS / f"{name}.yaml")


def dump_device(device: Device) -> str:
    """The text of a profile file that :func:`parse_device` reads back as ``device``."""
    import yaml

    sources = dict(device.sources)
    content: dict[str, Any] = {"summary": device.summary}
    for key in SECTIONS:
        section = getattr(device, key)
        if section is not None:
            content[key] = {
                item.name: {
                    "value": _plain(getattr(section, item.name)),
                    "unit": item.metadata["unit"],
                    "source": sources[f"{key}.{item.name}"],
                }
                for item in dataclasses.fields(section)
            }
    text: str = yaml.safe_dump(
        content, sort_keys=False, width=100, allow_unicode=True, default_flow_style=None
    )
    return text


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _required() -> tuple[str, ...]:
    return tuple(key for key in SECTIONS if key not in OPTIONAL_SECTIONS)


def _mapping(content: object, where: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise DeviceError(f"{where}: must be a mapping, but got {type(content).__name__}.")
    return content


def _check_keys(
    content: Mapping[str, Any], known: tuple[str, ...], required: tuple[str, ...], where: str
) -> None:
    unknown = [str(key) for key in content if key not in known]
    missing = [key for key in required if key not in content]
    if unknown:
        raise DeviceError(
            f"{where}: keys must be among {', '.join(known)}, but got {', '.join(unknown)}."
        )
    if missing:
        raise DeviceError(f"{where}: must have {', '.join(missing)}, but got none.")


def _section(
    kind: type, content: object, where: str, key: str, sources: list[tuple[str, str]]
) -> Any:
    values = _mapping(content, where)
    fields = {item.name: item for item in dataclasses.fields(kind)}
    _check_keys(values, tuple(fields), tuple(fields), where)
    leaves = {}
    for name, item in fields.items():
        value, source = _leaf(values[name], item, f"{where}.{name}")
        leaves[name] = value
        sources.append((f"{key}.{name}", source))
    return kind(**leaves)


def _leaf(content: object, item: dataclasses.Field[Any], where: str) -> tuple[Any, str]:
    leaf = _mapping(content, where)
    _check_keys(leaf, LEAF_KEYS, LEAF_KEYS, where)
    unit = item.metadata["unit"]
    if leaf["unit"] != unit:
        raise DeviceError(f"{where}: unit must be {unit!r}, but got {leaf['unit']!r}.")
    source = leaf["source"]
    if not isinstance(source, str) or not source.strip():
        raise DeviceError(
            f"{where}: source must say where the number comes from (an estimate: "
            f"'assumed: <why>'), but got {source!r}."
        )
    return _value(leaf["value"], str(item.type), item.name, where), source


def _value(value: object, kind: str, name: str, where: str) -> Any:
    if kind == "str":
        choices = CHOICES.get(name)
        if not isinstance(value, str) or (choices and value not in choices):
            expected = " or ".join(choices) if choices else "a text"
            raise DeviceError(f"{where}: value must be {expected}, but got {value!r}.")
        return value
    if kind.startswith("tuple["):
        if not isinstance(value, list):
            raise DeviceError(f"{where}: value must be a list, but got {value!r}.")
        inner = "tuple[float, ...]" if kind.startswith("tuple[tuple[") else "signed"
        return tuple(_value(item, inner, name, where) for item in value)
    signed = kind == "signed" or name in SIGNED
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if not number or not math.isfinite(value) or (value < 0 and not signed):  # type: ignore[arg-type, operator]
        least = "finite number" if signed else "number from 0 up"
        raise DeviceError(f"{where}: value must be a {least}, but got {value!r}.")
    if name in DIVISORS and value == 0:
        raise DeviceError(f"{where}: value must be above 0, but got 0.")
    if kind == "int" and int(value) != value:  # type: ignore[call-overload]
        raise DeviceError(f"{where}: value must be a whole number, but got {value!r}.")
    return int(value) if kind == "int" else float(value)  # type: ignore[call-overload, arg-type]
