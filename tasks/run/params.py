"""``params.yaml`` as frozen records: one block a stage, unknown keys and wrong types refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticKnownError

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, Field(min_length=1)]
BoxForm = Literal[
    "auto",
    "xywh",
    "xyxy",
    "cxcywh",
    "relative_xywh",
    "relative_xyxy",
    "relative_cxcywh",
]
DEVICE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
Objective = Annotated[str, Field(pattern=rf"^({DEVICE_NAME}/)?[a-z][a-z0-9_]*:(max|min)$")]
"""A metric or a cost and its goal; before a slash, the device that the cost is on."""


class ParamsError(ValueError):
    """Parameters that cannot be used; the message is one line."""


def short(value: object) -> str:
    """A value for a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Block(BaseModel):
    """A block of parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _side(value: object) -> int:
    """A side of a picture in pixels."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise PydanticKnownError("int_type")
    if value < 8:
        raise PydanticKnownError("greater_than_equal", {"ge": 8})
    if value > 512:
        raise PydanticKnownError("less_than_equal", {"le": 512})
    return value


def _sides(value: object) -> int | tuple[int, int]:
    """One side of a square, or height and width."""
    if not isinstance(value, list | tuple):
        return _side(value)
    if len(value) != 2:
        raise ValueError(f"must be one side or [height, width], but got {short(list(value))}")
    height, width = (_side(side) for side in value)
    return height if height == width else (height, width)


class DataParams(Block):
    """Where the data comes from and what becomes of it."""

    format: Name = "digits"
    source: str | None = None
    image_size: Annotated[int | tuple[int, int], PlainValidator(_sides)] = 32
    channels: Literal["auto", 1, 3] = "auto"
    fit: Literal["crop", "pad", "stretch"] = "crop"
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    test_fraction: Share = 0.2
    seed: Seed = 0
    on_unreadable: Literal["fail", "skip"] = "fail"
    allowed_loss: Annotated[float, Field(ge=0, le=1)] = 0.05
    exif: Literal["auto", "upright", "stored"] = "auto"
    boxes: BoxForm = "auto"
    sequence_length: Annotated[int, Field(ge=8, le=512)] = 64
    vocabulary: str | None = None
    vocabulary_size: Annotated[int, Field(ge=100, le=100_000)] = 8000

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a prepared picture in pixels."""
        side = self.image_size
        return (side, side) if isinstance(side, int) else side

    @model_validator(mode="after")
    def _train_remains(self) -> DataParams:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction + test_fraction must be below 1, but got "
                f"{self.validation_fraction:g} + {self.test_fraction:g}"
            )
        return self


def _pairs(value: object) -> object:
    """A mapping as pairs: parameters are hashed, so that worker processes can know them again."""
    if isinstance(value, tuple):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"must be lists of values by name of choice, but got {short(value)}")
    for name, values in value.items():
        if not isinstance(values, list | tuple):
            raise ValueError(f"{name} must be a list of values, but got {short(values)}")
        for one in values:
            if isinstance(one, bool) or not isinstance(one, int | float | str):
                raise ValueError(f"{name} must list numbers and words, but got {short(one)}")
    return tuple((name, tuple(values)) for name, values in value.items())


class SpaceParams(Block):
    """What can be built."""

    name: Name = "mobilenet_edgetpu_v2_small"
    choices: Annotated[
        tuple[tuple[str, tuple[int | float | str, ...]], ...],
        Field(strict=False),
        BeforeValidator(_pairs),
        PlainSerializer(dict),
    ] = ()

    @property
    def offers(self) -> dict[str, tuple[int | float | str, ...]]:
        """Values by name or pattern of choice; empty: all that the space has."""
        return dict(self.choices)


class ProblemParams(Block):
    """What is to be learned; what stands beside the name is the problem's own.

    Nothing here knows which problems there are: :mod:`tasks.run.params_file` has the rest of the
    block checked, and filled in, by the ``options`` of the problem's file.
    """

    model_config = ConfigDict(extra="allow")

    name: Name = "classification"

    @property
    def options(self) -> dict[str, Any]:
        """What stands beside the name."""
        return dict(self.model_extra or {})


class AugmentParams(Block):
    """Random changes of a training sample."""

    flip: bool = False
    turn: bool = False
    crop: Whole = 0
    scale: Share = 0.0
    colour: Share = 0.0
    drop_tokens: Share = 0.0
    mix: Share = 0.0


SharedOptimiser = Literal["sgd", "adam"]
Optimiser = Literal["sgd", "adam", "muon"]


class SupernetParams(Block):
    """How the weight-sharing network is trained; None: by :mod:`tasks.learning.recipes`."""

    optimizer: SharedOptimiser | None = None
    steps: Whole = 1000
    start_from: Name | None = None
    batch_size: Count | None = None
    learning_rate: Positive | None = None
    momentum: Share = 0.9
    weight_decay: NotNegative | None = None
    dropout: Share | None = None
    label_smoothing: Share | None = None
    warmup_steps: Whole | None = None
    clip_norm: Positive = 5.0
    augment: AugmentParams | None = None
    checkpoint_steps: Count = 100
    random_subnets: Whole = 2
    seed: Seed = 0


class SearchParams(Block):
    """How candidates are proposed and scored."""

    algorithm: Name = "local_search"
    evaluator: Name = "auto"
    budget: Count = 200
    minutes: Positive = 2.0
    epochs: Count | None = None
    rungs: Count = 2
    gate_networks: Whole = 8
    seed: Seed = 0
    chunk: Count = 8
    calibration_images: Count = 256
    validation_images: Count | None = None


class DeviceParams(Block):
    """What it may cost on a further device."""

    target_latency_ms: Positive | None = None


def device_name(device: str) -> str:
    """What a device is called in the names of costs: its file without folder and ending.

    >>> device_name("tensor_g1"), device_name("boards/mine.v2.yaml")
    ('tensor_g1', 'mine.v2')
    """
    return re.sub(r"\.ya?ml$", "", device.rpartition("/")[2])


def _devices(value: object) -> object:
    """A mapping of devices to their limits as pairs, see :func:`_pairs`."""
    if isinstance(value, tuple):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(
            "must be devices with their limits, such as {ethos_u55_128: {target_latency_ms: "
            f"1.0}}}}, but got {short(value)}"
        )
    return tuple((name, _limits(name, limits)) for name, limits in value.items())


def _limits(device: object, limits: object) -> DeviceParams:
    """Of one device; YAML's nothing is no limit."""
    if not isinstance(device, str) or not re.fullmatch(DEVICE_NAME, device_name(device)):
        raise ValueError(
            "a device must be called by letters, digits, '_', '-' and '.', for costs and metrics "
            f"bear its name, but got {short(device)}"
        )
    given = {} if limits is None else limits
    if not isinstance(given, Mapping):
        raise ValueError(
            f"{device} must have its limits, such as {{target_latency_ms: 1.0}}, or {{}}, but got "
            f"{short(limits)}"
        )
    if unknown := [key for key in given if key not in DeviceParams.model_fields]:
        known = ", ".join(DeviceParams.model_fields)
        raise ValueError(f"{device} may have {known}, but got {short(unknown[0])}")
    try:
        return DeviceParams.model_validate(dict(given))
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ValueError(
            f"{device}: {wrong['loc'][0]} must be a number above 0 or null, but got "
            f"{short(wrong['input'])}"
        ) from None


def _by_device(pairs: tuple[tuple[str, DeviceParams], ...]) -> dict[str, dict[str, Any]]:
    return {device: limits.model_dump() for device, limits in pairs}


class CostParams(Block):
    """What it may cost, and where.

    Attributes:
        devices: Further ones that decide, with their limits: see
            :mod:`tasks.candidates.other_devices`.
    """

    device: Name = "coral_usb3"
    method: Name = "analytic"
    target_latency_ms: Positive | None = None
    max_weight_bytes: Count | None = None
    devices: Annotated[
        tuple[tuple[Name, DeviceParams], ...],
        Field(strict=False),
        BeforeValidator(_devices),
        PlainSerializer(_by_device),
    ] = ()

    @model_validator(mode="after")
    def _devices_differ(self) -> CostParams:
        seen = {device_name(self.device): f"{self.device} of cost.device"}
        for device, _ in self.devices:
            name = device_name(device)
            if name in seen:
                raise ValueError(
                    "devices must differ by name, for costs bear it, but got "
                    f"{device} of cost.devices beside {seen[name]}"
                )
            seen[name] = f"{device} of cost.devices"
        return self


def _count(value: object) -> int:
    """A count of at least one."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise PydanticKnownError("int_type")
    if value < 1:
        raise PydanticKnownError("greater_than_equal", {"ge": 1})
    return value


def _counts(value: object) -> int | tuple[int, int]:
    """A count, or the least and the most."""
    if not isinstance(value, list | tuple):
        return _count(value)
    if len(value) != 2 or _count(value[0]) > _count(value[1]):
        raise ValueError(f"must be one number or [least, most], but got {short(list(value))}")
    least, most = value
    return least if least == most else (least, most)


class FinetuneParams(Block):
    """How the best are trained and quantized; None: by :mod:`tasks.learning.recipes`."""

    finalists: Annotated[int | tuple[int, int], PlainValidator(_counts)] = 4
    baselines: Whole = 0
    minutes: Positive = 3.0
    rungs: Literal[1, 2] = 1
    start: Literal["auto", "scratch", "slice"] = "auto"
    teacher: Name | None = None
    optimizer: Optimiser | None = None
    dropout: Share | None = None
    epochs: Whole | None = None
    qat_epochs: Count | None = None
    batch_size: Count | None = None
    learning_rate: Positive | None = None
    qat_learning_rate: Positive | None = None
    weight_decay: NotNegative | None = None
    label_smoothing: Share | None = None
    calibration_images: Count = 256
    augment: AugmentParams | None = None
    seed: Seed = 0


def _goals(value: object) -> object:
    """Objectives as ``name:goal`` each, where they are given as a mapping of names to goals."""
    if not isinstance(value, Mapping):
        return value
    for name, goal in value.items():
        if goal not in ("max", "min"):
            raise ValueError(f"a goal must be max or min, but got {short(goal)} for {name}")
    return tuple(f"{name}:{goal}" for name, goal in value.items())


class SelectParams(Block):
    """By what the finalists are compared."""

    objectives: Annotated[
        tuple[Objective, ...], Field(min_length=1, strict=False), BeforeValidator(_goals)
    ] = (
        "top1:max",
        "latency_ms:min",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> SelectParams:
        names = [objective.split(":")[0] for objective in self.objectives]
        if len(set(names)) < len(names):
            raise ValueError(f"objectives must differ by name, but got {', '.join(names)}")
        return self


class ReportParams(Block):
    """What the report says on top."""

    title: Name = "Edge NAS"
    samples: Whole = 12
    other_devices: Annotated[tuple[Name, ...], Field(strict=False)] = ()


class RuntimeParams(Block):
    """What else changes the numbers: sums in another order are other sums."""

    threads: Count = 2
    deterministic: bool = True
    speed: Positive | Literal["auto"] = 1.0


class Params(Block):
    """All of ``params.yaml`` but the profiles, which are laid over it."""

    problem: ProblemParams = ProblemParams()
    data: DataParams = DataParams()
    space: SpaceParams = SpaceParams()
    supernet: SupernetParams = SupernetParams()
    search: SearchParams = SearchParams()
    cost: CostParams = CostParams()
    finetune: FinetuneParams = FinetuneParams()
    select: SelectParams = SelectParams()
    report: ReportParams = ReportParams()
    runtime: RuntimeParams = RuntimeParams()
