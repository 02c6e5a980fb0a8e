"""Hosts: registered by operators, described and judged by what is observed."""

import logging
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.guests import NAME
from lifecycle.models import VM, Host, Project, Zone
from lifecycle.realtime import publish
from lifecycle.services.db import service

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Description:
    """What a host is; memory in MiB, disk in GiB."""

    architecture: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    libvirt_version: str
    hypervisor_version: str


@service
def register(name: str, uri: str, zone_name: str) -> Host:
    """The host of that name, made or brought up to date; the same call again changes nothing.

    Raises:
        InvalidInput: the name is none, the zone is unknown, or the URI is another host's.
    """
    if not NAME.fullmatch(name):
        raise InvalidInput(
            "A host's name starts with a small letter and goes on with small letters, digits and hyphens.", field="name"
        )
    zone = Zone.objects.filter(name=zone_name).first()
    if zone is None:
        known = ", ".join(Zone.objects.values_list("name", flat=True)) or "–"
        raise InvalidInput(
            "There is no zone %(value)s. Known zones: %(known)s.", field="zone", value=zone_name, known=known
        )
    other = Host.objects.filter(uri=uri).exclude(name=name).first()
    if other is not None:
        raise InvalidInput("%(uri)s is already registered as %(name)s.", field="uri", uri=uri, name=other.name)
    host = Host.objects.select_for_update().filter(name=name).first()
    if host is None:
        return Host.objects.create(name=name, uri=uri, zone=zone)
    return _bring_up_to_date(host, uri, zone)


def _bring_up_to_date(host: Host, uri: str, zone: Zone) -> Host:
    moved = [f for f, new in (("zone", zone), ("uri", uri)) if getattr(host, f) != new]
    if "zone" in moved and host.vms.filter(deleted_at__isnull=True).exists():
        raise InvalidInput("%(name)s has VMs: its zone cannot be changed.", field="zone", name=host.name)
    if moved:
        host.zone, host.uri = zone, uri
        host.save(update_fields=moved)
    return host


@service
def record_description(host_id: int, seen: Description) -> bool:
    """Record what the host is. False when its totals went below what is reserved on it: those stay as they were."""
    versions = {"libvirt_version": seen.libvirt_version, "hypervisor_version": seen.hypervisor_version}
    totals = {
        "architecture": seen.architecture,
        "vcpus_total": seen.vcpus,
        "memory_mib_total": seen.memory_mib,
        "disk_gib_total": seen.disk_gib,
    }
    rows = Host.objects.filter(pk=host_id)
    if rows.filter(**versions, **totals).exists():
        return True
    try:
        with transaction.atomic():
            rows.update(**versions, **totals)
    except IntegrityError:
        log.warning("host %s has shrunk below what is reserved on it; its totals are kept", host_id)
        rows.update(**versions)
        return False
    return True


@service
def record_verdict(host_id: int, domain_type: str, reason: str) -> None:
    """Record which domain type runs guests on the host, and why."""
    Host.objects.filter(pk=host_id).update(domain_type=domain_type, domain_type_reason=reason[:300])


@service
def mark_up(host_id: int) -> bool:
    """The host answers. True when that is news."""
    news = Host.objects.filter(pk=host_id).exclude(health=Host.Health.UP).exists()
    was_down = news and _turns(host_id, down=False)
    Host.objects.filter(pk=host_id).update(
        health=Host.Health.UP, health_reason="", last_seen_at=timezone.now(), down_since=None
    )
    if was_down:
        _tell_vms(host_id)
    return news


@service
def mark_down(host_id: int, reason: str) -> bool:
    """The host does not answer. True when that is news. Its VMs stay as they were last seen: silence proves nothing."""
    rows = Host.objects.filter(pk=host_id).exclude(health=Host.Health.DOWN, health_reason=reason[:300])
    was_up = rows.exists() and _turns(host_id, down=True)
    since = {"down_since": timezone.now()} if was_up else {}
    news = bool(rows.update(health=Host.Health.DOWN, health_reason=reason[:300], **since))
    if was_up:
        _tell_vms(host_id)
    return news


def _turns(host_id: int, *, down: bool) -> bool:
    """Whether the host begins, or ceases, to be DOWN now. Its VMs' projects are locked, before the host is."""
    turns = Host.objects.filter(pk=host_id, health=Host.Health.DOWN).exists() is not down
    if turns:
        mine = VM.objects.live().filter(host=host_id).values("project")
        list(Project.objects.select_for_update().filter(pk__in=mine).order_by("pk"))
    return turns


def _tell_vms(host_id: int) -> None:
    """Who looks at one of its VMs is told whether what is shown is only what was last known."""
    for vm_id in VM.objects.live().filter(host=host_id).order_by("project", "pk").values_list("pk", flat=True):
        publish.vm_changed(vm_id)
