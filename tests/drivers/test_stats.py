"""One bulk record of libvirt in our words."""

from lifecycle.drivers.libvirt import connect
from lifecycle.drivers.libvirt.stats import counters_of

RECORD = {
    "state.state": 1,
    "cpu.time": 5_000_000_000,
    "balloon.available": 90_000,
    "balloon.usable": 40_000,
    "balloon.unused": 30_000,
    "block.count": 3,
    "block.0.rd.bytes": 1000,
    "block.0.wr.bytes": 10,
    "block.1.rd.bytes": 24,
    "block.1.wr.bytes": 0,
    "net.count": 2,
    "net.0.rx.bytes": 7,
    "net.0.tx.bytes": 8,
    "net.1.rx.bytes": 1,
    "net.1.tx.bytes": 1,
}


def test_devices_are_summed_and_an_empty_drive_counts_nothing() -> None:
    found = counters_of(1.0, 4, RECORD)
    assert (found.at, found.run, found.cpu_ns) == (1.0, 4, 5_000_000_000)
    assert (found.disk_read, found.disk_write, found.net_in, found.net_out) == (1024, 10, 8, 9)


def test_memory_that_could_be_had_without_swapping_is_not_in_use() -> None:
    assert counters_of(1.0, 4, RECORD).memory_mib == 50_000 / 1024
    older = {key: value for key, value in RECORD.items() if key != "balloon.usable"}
    assert counters_of(1.0, 4, older).memory_mib == 60_000 / 1024


def test_what_is_not_told_is_unknown_and_not_zero() -> None:
    found = counters_of(1.0, 4, {"net.count": 2, "net.0.rx.bytes": 5})
    assert (found.cpu_ns, found.memory_mib, found.disk_read, found.net_in) == (None, None, None, None)


def test_the_test_driver_lists_its_running_domain() -> None:
    fake = connect("test:///default", "abcdef")
    try:
        assert len(fake.counters()) == 1
    finally:
        fake.close()
