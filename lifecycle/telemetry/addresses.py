"""Which addresses are in use: from the leases of the projects' networks."""

from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.drivers.base import Hypervisor
from lifecycle.models import VM
from lifecycle.services import observations


def collect_addresses(host_id: int, hypervisor: Hypervisor) -> int:
    """Mark the VMs of the host whose guests hold their address now. Returns how many were news."""
    networks = (
        VM.objects.live()
        .filter(host=host_id, state=State.RUNNING)
        .values_list("project__network__name", flat=True)
        .distinct()
    )
    seen_at = timezone.now()
    seen = {
        lease.mac.lower(): str(lease.ip)
        for network in networks.order_by()
        if network
        for lease in hypervisor.leases(network)
        if lease.expires_at > seen_at
    }
    return observations.record_addresses(host_id, seen, seen_at) if seen else 0
