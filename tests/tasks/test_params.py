from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from tasks.run.params import DataParams, Params, ParamsError
from tasks.run.params_file import load_params, profile_names

FILE = Path(__file__).parents[2] / "params.yaml"


def write(path: Path, text: str) -> Path:
    path = path / "params.yaml"
    path.write_text(text)
    return path


def keys(tree: dict, above: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in tree.items():
        found |= keys(value, f"{above}{key}.") if isinstance(value, dict) else {above + key}
    return found


def test_file_names_every_parameter_and_no_other() -> None:
    tree = yaml.safe_load(FILE.read_text())
    del tree["profiles"], tree["effort"], tree["efforts"]
    tree["select"]["objectives"] = "a mapping in the file, names with goals in the record"
    assert keys(tree) == keys(Params().model_dump())


def test_every_profile_of_the_file_is_valid() -> None:
    assert profile_names(FILE)
    for profile in (None, *profile_names(FILE)):
        assert isinstance(load_params(FILE, profile), Params)


def test_plain_yaml_reads_the_file_the_same_way() -> None:
    """Other tools that read the file must see numbers where we do."""
    tree = yaml.safe_load(FILE.read_text())
    del tree["profiles"], tree["effort"], tree["efforts"]
    assert Params.model_validate(tree) == load_params(FILE)


def test_profile_is_under_the_overrides(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "supernet: {steps: 1, augment: {flip: true}}\n"
        "profiles: {tiny: {supernet: {steps: 2, batch_size: 3}}}",
    )
    supernet = load_params(path, "tiny", ["supernet.steps=4", "supernet.augment.crop=1"]).supernet
    assert (supernet.steps, supernet.batch_size) == (4, 3)
    assert (supernet.augment.flip, supernet.augment.crop) == (True, 1)
    assert load_params(path).supernet.steps == 1


@pytest.mark.parametrize(
    ("override", "block", "key", "value"),
    [
        ("supernet.learning_rate=1e-3", "supernet", "learning_rate", 0.001),
        ("supernet.learning_rate=1", "supernet", "learning_rate", 1),
        ("data.source=~/my pictures", "data", "source", "~/my pictures"),
        ("data.source=a=b", "data", "source", "a=b"),
        ("data.image_size=[32, 48]", "data", "image_size", (32, 48)),
        ("data.image_size=[32, 32]", "data", "image_size", 32),
        ("finetune.finalists=[3, 8]", "finetune", "finalists", (3, 8)),
        ("finetune.finalists=[4, 4]", "finetune", "finalists", 4),
        ("data.source=", "data", "source", None),
        ("data.channels=3", "data", "channels", 3),
        ("cost.target_latency_ms=2.5", "cost", "target_latency_ms", 2.5),
        (
            "select.objectives=[top1:max, macs:min]",
            "select",
            "objectives",
            ("top1:max", "macs:min"),
        ),
        (
            "select.objectives={top1: max, macs: min}",
            "select",
            "objectives",
            ("top1:max", "macs:min"),
        ),
        ("select.objectives=[top1:max]", "select", "objectives", ("top1:max",)),
        ("select={objectives: {top1: max}}", "select", "objectives", ("top1:max",)),
        (
            "select.objectives.macs=min",
            "select",
            "objectives",
            ("top1:max", "latency_ms:min", "weight_bytes:min", "macs:min"),
        ),
    ],
)
def test_override_is_parsed_as_yaml(override: str, block: str, key: str, value: object) -> None:
    assert getattr(getattr(load_params(FILE, None, [override]), block), key) == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("supernet.step=3", "unknown key supernet.step in .*Did you mean steps"),
        ("supernet.augment.flop=true", r"unknown key supernet.augment.flop.*Did you mean flip"),
        ("supernett.steps=3", "unknown key supernett in .*Did you mean supernet"),
        ("data.zzzzzz=3", "unknown key data.zzzzzz in .*There are format, source, image_size"),
        ("data.image_size=4", "data.image_size must be at least 8, but got 4"),
        ("finetune.finalists=0", "finetune.finalists must be at least 1, but got 0"),
        ("finetune.finalists=[0, 2]", "finetune.finalists must be at least 1"),
        ("finetune.finalists=[8, 3]", r"finalists: must be one number or .* got \[8, 3\]"),
        ("finetune.finalists=[3]", r"finalists: must be one number or .* got \[3\]"),
        ("finetune.finalists=many", "finetune.finalists must be a whole number, but got 'many'"),
        ("data.image_size=[8]", r"data.image_size: must be one side or .*, but got \[8\]"),
        ("data.image_size=[8, 4]", "data.image_size must be at least 8"),
        ("data.image_size=513", "data.image_size must be at most 512, but got 513"),
        ("data.image_size=32.0", "data.image_size must be a whole number, but got 32.0"),
        ("data.image_size='32'", "data.image_size must be a whole number, but got '32'"),
        ("data.image_size=true", "data.image_size must be a whole number, but got True"),
        ("data.channels=2", "data.channels must be 'auto', 1 or 3, but got 2"),
        ("data.validation_fraction=0", "validation_fraction must be above 0, but got 0"),
        ("data.validation_fraction=0.9", "fraction must be below 1, but got 0.9 [+] 0.2"),
        ("supernet.learning_rate=.nan", "learning_rate must be finite, but got nan"),
        ("supernet.learning_rate=fast", "learning_rate must be a number, but got 'fast'"),
        ("report.title=2024", "report.title must be text .*but got 2024"),
        ("search.algorithm=''", "search.algorithm must be text that is not empty"),
        ("select.objectives=[]", "select.objectives must be at least 1 name with its goal"),
        ("select.objectives={}", "select.objectives must be at least 1 name with its goal"),
        ("select.objectives=top1:max", "objectives must be names with their goals, such as {top1"),
        ("select.objectives=[top1]", "select.objectives.0 must be a name and its goal"),
        ("select.objectives=[top1, macs:min]", "objectives.0 must be a name and its goal"),
        ("select.objectives=[a:max, a:min]", "objectives must differ by name"),
        ("select.objectives=[{a: max}]", "select.objectives.0 must be text"),
        ("select.objectives=[top1:most]", "a goal must be max or min, but got 'most' for top1"),
        ("select.objectives={top1: most}", "a goal must be max or min, but got 'most' for top1"),
        ("select.objectives.macs=2", "a goal must be max or min, but got 2 for macs"),
        ("select.objectives={Top1: max}", "select.objectives.0 must be a name and its goal"),
        ("problem.name=depth", "problem.name must be one of classification, detection, .*'depth'"),
        ("problem.name=3", "problem.name must be text .*but got 3"),
        ("problem=3", "problem must be a block of keys, but got 3"),
        ("problem.detections=3", "unknown key problem.detections in .* That is one of detection."),
        ("problem.depth=3", "unknown key problem.depth in .*, --set. Of classification there is"),
        ("problem={name: detection, anchor: 3}", "detection there are name, predictor, anchors, "),
        ("problem={name: detection, anchors: 0}", "problem.anchors must be at least 1, but got 0"),
        ("data=3", "data must be a block of keys, but got 3"),
        ("data.image_size", "--set must be given as block.key=value"),
        ("data..x=1", "--set must be given as block.key=value"),
        ("data.source=[", "--set data.source must be YAML"),
        ("data.source=!!python/name:os.system x", "--set data.source must be YAML"),
    ],
)
def test_bad_override_is_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        load_params(FILE, None, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold blocks of keys, but got None"),
        ("- a", "must hold blocks of keys"),
        ("a: [", "must be YAML, but got"),
        ("data: {seed: 1, seed: 2}", "the key seed twice"),
        ("data: {seed: -1}", "data.seed must be at least 0, but got -1 in .*params.yaml"),
        ("data: {seed: -1, fit: none}", "1 more after that"),
    ],
)
def test_bad_file_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        load_params(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_missing_file_and_unknown_profile_are_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="must be a readable file"):
        load_params(tmp_path / "none.yaml")
    with pytest.raises(ParamsError, match=r"profile must be one of .*tiny.*got 'huge'"):
        load_params(FILE, "huge")
    with pytest.raises(ParamsError, match=r"profile must be one of none"):
        load_params(write(tmp_path, "data: {}"), "huge")


def test_mistake_in_a_profile_names_the_profile(tmp_path: Path) -> None:
    path = write(tmp_path, "profiles: {tiny: {data: {sed: 1}}}")
    with pytest.raises(ParamsError, match=r"unknown key data.sed in .*profile tiny"):
        load_params(path, "tiny")


def test_records_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        DataParams().seed = 1  # type: ignore[misc]


def test_blocks_can_be_keys() -> None:
    narrow = {"space": {"choices": {"kernel": [3, 5], "channels": [16]}}}
    params = [Params.model_validate(narrow) for _ in range(2)]
    for name in Params.model_fields:
        assert len({getattr(one, name) for one in params}) == 1, name
    assert params[0].space != Params().space
