"""Every state and reason that libvirt knows has a meaning."""

import libvirt as lv
import pytest

from lifecycle.domain.states import Power
from lifecycle.drivers.libvirt.power import WORDS, power_of, reason_word, words_of


@pytest.mark.parametrize(
    ("state", "reason", "saved", "expected"),
    [
        (lv.VIR_DOMAIN_RUNNING, lv.VIR_DOMAIN_RUNNING_BOOTED, False, Power.ON),
        (lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_IOERROR, False, Power.PAUSED),
        (lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_STARTING_UP, False, Power.ON),
        (lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_CRASHED, False, Power.CRASHED),
        (lv.VIR_DOMAIN_SHUTDOWN, lv.VIR_DOMAIN_SHUTDOWN_USER, False, Power.ON),
        (lv.VIR_DOMAIN_SHUTOFF, lv.VIR_DOMAIN_SHUTOFF_DESTROYED, False, Power.OFF),
        (lv.VIR_DOMAIN_SHUTOFF, lv.VIR_DOMAIN_SHUTOFF_SAVED, True, Power.SAVED),
        (lv.VIR_DOMAIN_SHUTOFF, lv.VIR_DOMAIN_SHUTOFF_UNKNOWN, True, Power.SAVED),
        (lv.VIR_DOMAIN_SHUTOFF, lv.VIR_DOMAIN_SHUTOFF_SAVED, False, Power.OFF),
        (lv.VIR_DOMAIN_SHUTOFF, lv.VIR_DOMAIN_SHUTOFF_CRASHED, False, Power.CRASHED),
        (lv.VIR_DOMAIN_RUNNING, lv.VIR_DOMAIN_RUNNING_BOOTED, True, Power.ON),
        (lv.VIR_DOMAIN_CRASHED, lv.VIR_DOMAIN_CRASHED_PANICKED, False, Power.CRASHED),
        (999, 0, False, Power.UNKNOWN),
    ],
)
def test_what_a_state_means(state: int, reason: int, saved: bool, expected: Power) -> None:
    assert power_of(state, reason, saved=saved) is expected


def test_no_state_of_libvirt_is_unknown_but_none() -> None:
    states = words_of("VIR_DOMAIN_").items()
    names = ("running", "blocked", "paused", "shutdown", "shutoff", "crashed", "pmsuspended")
    known = [getattr(lv, f"VIR_DOMAIN_{name.upper()}") for name in names]
    assert states
    assert all(power_of(state, 0, saved=False) is not Power.UNKNOWN for state in known)
    assert power_of(lv.VIR_DOMAIN_NOSTATE, 0, saved=False) is Power.UNKNOWN


def test_reasons_are_libvirts_words() -> None:
    assert reason_word(lv.VIR_DOMAIN_SHUTOFF, lv.VIR_DOMAIN_SHUTOFF_DESTROYED) == "destroyed"
    assert reason_word(lv.VIR_DOMAIN_SHUTOFF, 999) == "unknown"
    assert WORDS[lv.VIR_DOMAIN_SHUTDOWN] == {0: "unknown", 1: "user"}
