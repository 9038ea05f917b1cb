"""Energy counters, from made-up ones."""

import pytest

from dskd_utils.energy import Meter, read_counters


@pytest.fixture
def count(tmp_path):
    """A function that sets the counter of a made-up zone, in microjoules."""

    def write(zone, value, largest=10_000_000):
        (tmp_path / zone).mkdir(exist_ok=True)
        (tmp_path / zone / "energy_uj").write_text(f"{value}\n")
        (tmp_path / zone / "max_energy_range_uj").write_text(f"{largest}\n")

    return write


def test_packages_are_added_up_and_their_parts_are_not_counted_twice(tmp_path, count):
    for zone in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        count(zone, 1_000_000)
    meter = Meter(tmp_path)
    assert meter.watt_hours() == 0
    count("intel-rapl:0", 4_600_000), count("intel-rapl:1", 1_000_000), count("intel-rapl:0:0", 9_000_000)
    assert meter.watt_hours() == pytest.approx(3.6 / 3600)


def test_a_counter_that_came_round_goes_on(tmp_path, count):
    count("intel-rapl:0", 9_000_000)
    meter = Meter(tmp_path)
    count("intel-rapl:0", 1_000_000)
    assert meter.watt_hours() == pytest.approx(2 / 3600)
    count("intel-rapl:0", 2_000_000)
    assert meter.watt_hours() == pytest.approx(3 / 3600)


def test_a_machine_that_does_not_tell_gives_none(tmp_path, count):
    assert Meter(tmp_path / "nothing").watt_hours() is None
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0/energy_uj").write_text("locked")
    assert read_counters(tmp_path) == {} and Meter(tmp_path).watt_hours() is None
