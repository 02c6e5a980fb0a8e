"""`./portal down`: stops what this installation started, and nothing else."""

from vmportal.launcher import libvirtd
from vmportal.launcher.display import Display
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import Installation
from vmportal.launcher.processes import carries
from vmportal.launcher.supervisor import Supervisor


def down(installation: Installation, display: Display) -> int:
    """Stop the installation; 0 also when nothing ran."""
    if not installation.run.is_dir():
        display.say(f"There is no installation in {installation.var}.")
        return 0
    with installation.lock():
        if not carries(installation.marker) and not installation.recall("address"):
            display.say("It was not running.")
            return 0
        stop_everything(installation, display)
    return 0


def stop_everything(installation: Installation, display: Display) -> None:
    """Stop the processes, the networks without a running VM, and libvirtd when it is ours alone."""
    with display.step("Stopping the processes"):
        Supervisor(installation).stop()
        (installation.run / "address.json").unlink(missing_ok=True)
        (installation.run / "redis.sock").unlink(missing_ok=True)
    with display.step("Leaving libvirt") as say:
        try:
            networks = libvirtd.stop_networks(installation)
        except PortalError:
            networks = "libvirt did not answer"
        say(f"{networks}; {libvirtd.release(installation)}.")
