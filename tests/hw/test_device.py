"""Profiles: what the loader takes, and what it refuses with which words."""

import copy

import pytest
import yaml

from hw.device import DEVICES, DeviceError, device_names, load_device, parse_device


@pytest.fixture
def content():
    return yaml.safe_load((DEVICES / "coral_usb3.yaml").read_text())


@pytest.mark.parametrize("name", device_names())
def test_each_profile_loads_and_names_a_source_for_each_number(name):
    device = load_device(name)
    assert device.name == name
    assert all(source.strip() for _, source in device.sources)
    assert len({key for key, _ in device.sources}) == len(device.sources) >= 30


def test_the_profiles_of_the_public_interface_exist():
    public = {"coral_usb3", "coral_usb2", "coral_pcie", "coral_dev_board", "tensor_g1"}
    assert public <= set(device_names())


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


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(
        DeviceError, match=r"one of coral_dev_board, .*tensor_g1.*but got 'nosuch'"
    ):
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
    device = parse_device("d", content, "d.yaml")
    assert device.energy is None
    assert device.calibration is None
