"""Profiles: what the loader takes, and what it refuses with which words."""

import copy
import dataclasses

import pytest
import yaml

from hw.device import DEVICES, DeviceError, device_names, dump_device, load_device, parse_device
from hw.families.edge_tpu.family import CHIPS
from hw.families.edge_tpu.features import FEATURES
from hw.families.edge_tpu.profile import SECTIONS
from hw.fitted import Calibration

CALIBRATION = Calibration(
    measurements='ten networks: those of "a" laboratory',
    count=10,
    mape_percent=3.25,
    within_10_percent=0.9,
    spearman=-0.25,
    kendall=-1.0,
    error_90=0.0625,
    feature_low=tuple(-1.5 - number for number in range(len(FEATURES))),
    feature_high=tuple(1e-5 * number for number in range(len(FEATURES))),
    residual_scale=(1.0,) * len(FEATURES),
    residual_length=3.0,
    residual_centres=((0.5,) * len(FEATURES), (-2.0,) * len(FEATURES)),
    residual_weights=(0.125, -0.5),
)


@pytest.fixture
def content():
    """A profile with its chip written out."""
    read = yaml.safe_load((DEVICES / "coral_usb3.yaml").read_text())
    return read | {"chip": yaml.safe_load((CHIPS / "coral.yaml").read_text())}


def calibrated(device, calibration=CALIBRATION):
    fields = dataclasses.fields(Calibration)
    sources = tuple((f"calibration.{field.name}", "fitted: a test") for field in fields)
    kept = tuple(pair for pair in device.sources if not pair[0].startswith("calibration."))
    return dataclasses.replace(device, calibration=calibration, sources=kept + sources)


@pytest.mark.parametrize("name", device_names())
def test_each_profile_loads_and_names_a_source_for_each_number(name):
    device = load_device(name)
    assert device.name == name
    assert all(source.strip() for _, source in device.sources)
    assert len({key for key, _ in device.sources}) == len(device.sources) >= 20


def test_the_profiles_of_the_public_interface_exist():
    public = {"coral_usb3", "coral_usb2", "coral_pcie", "coral_dev_board", "tensor_g1"}
    assert public | {"tensor_g3"} <= set(device_names())


def test_coral_peak_rate_is_four_tops():
    # Derived: tiles * lanes * inputs * 2 operations * clock = 4.096e12, published as 4 TOPS.
    chip = load_device("coral_usb3").chip
    tiles = chip.tile_rows * chip.tile_columns
    operations = tiles * chip.output_lanes * chip.input_lanes * 2 * chip.clock_mhz * 1e6
    assert operations == 4.096e12


def test_a_path_loads_as_well(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    assert load_device(path).name == "mine"
    assert load_device(str(path)).chip == load_device("coral_usb3").chip


# --- chips -------------------------------------------------------------------------------------


def test_a_chip_is_named_or_written_out(content):
    named = parse_device("d", content | {"chip": "coral"}, "d.yaml")
    written = parse_device("d", content, "d.yaml")
    assert named == written
    assert dict(named.sources)["chip.tile_rows"] == content["chip"]["tile_rows"]["source"]


def test_profiles_that_name_a_chip_share_it():
    names = [
        name
        for name in device_names()
        if yaml.safe_load((DEVICES / f"{name}.yaml").read_text()).get("chip") == "coral"
    ]
    assert len(names) >= 4
    assert len({load_device(name).chip for name in names}) == 1


@pytest.mark.parametrize("name", ["corral", "../devices/coral_usb3", ""])
def test_a_chip_that_does_not_exist_is_answered_with_those_that_do(content, name):
    names = ", ".join(sorted(path.stem for path in CHIPS.glob("*.yaml")))
    words = rf"d\.yaml: chip must be one of {names}, or a mapping, but got '{name}'"
    with pytest.raises(DeviceError, match=words):
        parse_device("d", content | {"chip": name}, "d.yaml")


@pytest.mark.parametrize("chip", [5, ["coral"], None])
def test_a_chip_is_a_name_or_a_mapping(content, chip):
    with pytest.raises(DeviceError, match=r"d\.yaml: chip: must be a mapping, but got"):
        parse_device("d", content | {"chip": chip}, "d.yaml")


def test_a_chip_lacks_nothing(content):
    del content["chip"]["pool_us"]
    with pytest.raises(DeviceError, match=r"d\.yaml: chip: must have pool_us, but got none"):
        parse_device("d", content, "d.yaml")


# --- what is written is read back --------------------------------------------------------------


@pytest.mark.parametrize("name", device_names())
def test_a_dumped_profile_is_read_back(name):
    device = load_device(name)
    assert parse_device(name, yaml.safe_load(dump_device(device)), "d.yaml") == device


@pytest.mark.parametrize("weights", [CALIBRATION.residual_weights, ()])
def test_a_calibrated_profile_is_read_back(weights, tmp_path):
    centres = CALIBRATION.residual_centres if weights else ()
    calibration = dataclasses.replace(
        CALIBRATION, residual_weights=weights, residual_centres=centres
    )
    device = calibrated(load_device("coral_pcie"), calibration)
    path = tmp_path / "coral_pcie.yaml"
    path.write_text(dump_device(device))
    assert load_device(path) == device


def test_numbers_are_read_back_to_the_last_digit():
    device = load_device("coral_usb3")
    link = dataclasses.replace(device.link, fixed_ms=1e-5, input_mb_per_s=0.1 + 0.2)
    odd = dataclasses.replace(device, link=link, summary="\u00b5s: a #colon, 'quoted'")
    assert parse_device("coral_usb3", yaml.safe_load(dump_device(odd)), "d.yaml") == odd


def test_a_profile_without_energy_is_read_back():
    device = load_device("coral_usb3")
    kept = tuple(pair for pair in device.sources if not pair[0].startswith("energy."))
    bare = dataclasses.replace(device, energy=None, sources=kept)
    assert parse_device("coral_usb3", yaml.safe_load(dump_device(bare)), "d.yaml") == bare


# --- what is refused ---------------------------------------------------------------------------


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(DeviceError, match=r"one of any_processor, .*tensor_g1.*but got 'nosuch'"):
        load_device("nosuch")


def test_a_file_that_is_no_yaml_is_refused_in_one_line(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("a: [1,\n b: {")
    with pytest.raises(DeviceError, match="must be a readable YAML file") as caught:
        load_device(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["value", "unit", "source"])
def test_a_leaf_needs_value_unit_and_source(content, part):
    del content["chip"]["clock_mhz"][part]
    with pytest.raises(DeviceError, match=rf"chip\.clock_mhz: must have {part}"):
        parse_device("d", content, "d.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": "GHz"}, "unit must be 'MHz', but got 'GHz'"),
        ({"source": "  "}, "source must say where"),
        ({"value": "fast"}, "value must be a number from 0 up, but got 'fast'"),
        ({"value": -1}, "value must be a number"),
        ({"value": 0}, "value must be above 0, but got 0"),
        ({"value": [500]}, "value must be a number"),
        ({"value": None}, "value must be a number"),
        ({"value": float("inf")}, "value must be a number"),
        ({"value": True}, "value must be a number"),
        ({"value": float("nan")}, "value must be a number"),
        ({"colour": "red"}, "keys must be among value, unit, source, but got colour"),
    ],
)
def test_a_wrong_leaf_is_refused(content, change, message):
    content["chip"]["clock_mhz"].update(change)
    with pytest.raises(DeviceError, match=message):
        parse_device("d", content, "d.yaml")


def test_counts_must_be_whole(content):
    content["chip"]["output_lanes"]["value"] = 63.5
    with pytest.raises(DeviceError, match=r"must be a whole number, but got 63\.5"):
        parse_device("d", content, "d.yaml")


def test_grouped_convolution_is_split_or_native(content):
    content["compiler"]["grouped_convolution"]["value"] = "magic"
    with pytest.raises(DeviceError, match="must be split or native, but got 'magic'"):
        parse_device("d", content, "d.yaml")


def test_unknown_and_missing_keys_are_refused(content):
    extra = copy.deepcopy(content)
    extra["antenna"] = {}
    with pytest.raises(DeviceError, match="but got antenna"):
        parse_device("d", extra, "d.yaml")
    del content["link"]
    with pytest.raises(DeviceError, match="must have link"):
        parse_device("d", content, "d.yaml")
    with pytest.raises(DeviceError, match="must be a mapping, but got list"):
        parse_device("d", [], "d.yaml")


def test_energy_and_calibration_are_optional(content):
    content.pop("energy", None)
    content.pop("calibration", None)
    device = parse_device("d", content, "d.yaml")
    assert device.energy is None
    assert device.calibration is None


DIVISORS = [
    (section, field.name)
    for section, kind in SECTIONS.items()
    for field in dataclasses.fields(kind)
    if field.metadata["divides"]
]


@pytest.mark.parametrize(("section", "name"), DIVISORS)
def test_nothing_is_divided_by_zero(content, section, name):
    content.setdefault("calibration", _section(CALIBRATION))
    content[section][name]["value"] = 0
    words = rf"{section}\.{name}: value must be above 0, but got 0"
    with pytest.raises(DeviceError, match=words):
        parse_device("d", content, "d.yaml")


def test_what_the_laws_divide_by_is_said():
    """Rates, the clock, sizes of the grid: as the laws have them, sixteen."""
    assert len(DIVISORS) == 16
    assert {("chip", "clock_mhz"), ("link", "input_mb_per_s"), ("host", "gmacs_per_s")} <= set(
        DIVISORS
    )


@pytest.mark.parametrize("name", ["fixed_ms", "first_inference_ms"])
def test_what_nothing_is_divided_by_may_be_zero(content, name):
    content["link"][name]["value"] = 0
    assert getattr(parse_device("d", content, "d.yaml").link, name) == 0.0


def test_subgraphs_are_one_or_several(content):
    content["compiler"]["subgraphs"]["value"] = "many"
    with pytest.raises(DeviceError, match="must be one or several, but got 'many'"):
        parse_device("d", content, "d.yaml")


# --- calibration -------------------------------------------------------------------------------


def _section(record):
    def plain(value):
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return {
        field.name: {
            "value": plain(getattr(record, field.name)),
            "unit": field.metadata["unit"],
            "source": "fitted: a test",
        }
        for field in dataclasses.fields(record)
    }


def test_correlations_and_features_may_be_negative(content):
    content["calibration"] = _section(CALIBRATION)
    assert parse_device("d", content, "d.yaml").calibration == CALIBRATION


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("feature_low", 3.0, "value must be a list, but got 3.0"),
        ("feature_low", "1, 2", "value must be a list, but got '1, 2'"),
        ("feature_low", ["low"] * 12, "value must be a finite number, but got 'low'"),
        ("residual_weights", [float("nan")] * 2, "value must be a finite number, but got nan"),
        ("residual_weights", [True, 0.5], "value must be a finite number, but got True"),
        ("residual_centres", [1.0, 2.0], "value must be a list, but got 1.0"),
        ("residual_centres", [[None] * 12], "value must be a finite number, but got None"),
        ("spearman", float("inf"), "value must be a finite number, but got inf"),
        ("error_90", -0.1, "value must be a number from 0 up, but got -0.1"),
        ("count", 9.5, "value must be a whole number, but got 9.5"),
        ("measurements", 7, "value must be a text, but got 7"),
    ],
)
def test_a_wrong_calibration_is_refused(content, name, value, message):
    content["calibration"] = _section(CALIBRATION)
    content["calibration"][name]["value"] = value
    with pytest.raises(DeviceError, match=rf"d\.yaml: calibration\.{name}: {message}") as caught:
        parse_device("d", content, "d.yaml")
    assert "\n" not in str(caught.value)
