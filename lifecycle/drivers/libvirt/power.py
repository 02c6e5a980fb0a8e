"""What libvirt's states and reasons mean: one table from (state, reason) to `Power`, one of words."""

from typing import Final

import libvirt as lv

from lifecycle.domain.states import Power

#: State -> what it means whatever the reason.
_BY_STATE: Final = {
    lv.VIR_DOMAIN_NOSTATE: Power.UNKNOWN,
    lv.VIR_DOMAIN_RUNNING: Power.ON,
    lv.VIR_DOMAIN_BLOCKED: Power.ON,
    lv.VIR_DOMAIN_PAUSED: Power.PAUSED,
    lv.VIR_DOMAIN_SHUTDOWN: Power.ON,  # on its way down, QEMU is still there
    lv.VIR_DOMAIN_SHUTOFF: Power.OFF,
    lv.VIR_DOMAIN_CRASHED: Power.CRASHED,
    lv.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
}

#: Where the reason says more.
_BY_REASON: Final = {
    (lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_STARTING_UP): Power.ON,
    (lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_SHUTTING_DOWN): Power.ON,
    (lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_CRASHED): Power.CRASHED,
    (lv.VIR_DOMAIN_SHUTOFF, lv.VIR_DOMAIN_SHUTOFF_CRASHED): Power.CRASHED,
}

_PREFIXES: Final = {
    lv.VIR_DOMAIN_RUNNING: "VIR_DOMAIN_RUNNING_",
    lv.VIR_DOMAIN_PAUSED: "VIR_DOMAIN_PAUSED_",
    lv.VIR_DOMAIN_SHUTDOWN: "VIR_DOMAIN_SHUTDOWN_",
    lv.VIR_DOMAIN_SHUTOFF: "VIR_DOMAIN_SHUTOFF_",
    lv.VIR_DOMAIN_CRASHED: "VIR_DOMAIN_CRASHED_",
}


def words_of(prefix: str, but: tuple[str, ...] = ()) -> dict[int, str]:
    """libvirt's constants of a prefix as {number: "word"}."""
    names = [n for n in dir(lv) if n.startswith(prefix) and not n.endswith("_LAST") and not n.startswith(but or ("-",))]
    return {getattr(lv, n): n.removeprefix(prefix).lower() for n in names}


#: "VIR_DOMAIN_SHUTDOWN_" names the reasons of a state and the flags of a call; only the first are wanted.
_FLAGS: Final = ("VIR_DOMAIN_SHUTDOWN_ACPI", "VIR_DOMAIN_SHUTDOWN_GUEST", "VIR_DOMAIN_SHUTDOWN_INIT")
_SIGNALS: Final = ("VIR_DOMAIN_SHUTDOWN_SIGNAL", "VIR_DOMAIN_SHUTDOWN_PARAVIRT", "VIR_DOMAIN_SHUTDOWN_DEFAULT")

WORDS: Final[dict[int, dict[int, str]]] = {
    state: words_of(prefix, _FLAGS + _SIGNALS) for state, prefix in _PREFIXES.items()
}


def power_of(state: int, reason: int, *, saved: bool) -> Power:
    """`saved`: libvirt holds saved memory of the domain, from which its next start goes on."""
    power = _BY_REASON.get((state, reason)) or _BY_STATE.get(state, Power.UNKNOWN)
    return Power.SAVED if saved and power in {Power.OFF, Power.CRASHED} else power


def reason_word(state: int, reason: int) -> str:
    """libvirt's word for why a domain is in its state."""
    return WORDS.get(state, {}).get(reason, "unknown")
