"""The VMs of the version before get their metering intervals, from the log of their transitions.

Safe on a running system: one short transaction for some VMs of one project, whose row is locked as every change of a
state locks it. Safe to run again: an interval whose transition has one is left as it is. A VM that a process of the
version before moves after its turn has no interval for that: `rebuild_metering --check` tells, `--repair` writes it.
"""

from itertools import groupby

from django.db import migrations, transaction
from django.db.models import Sum

VMS_AT_ONCE = 100


def fill(apps, schema_editor):
    using = schema_editor.connection.alias
    project, vm = (apps.get_model("lifecycle", name).objects.using(using) for name in ("Project", "VM"))
    for project_id in list(project.order_by("pk").values_list("pk", flat=True)):
        last = None
        while True:
            rows = vm.filter(project=project_id).order_by("pk")
            ids = list((rows.filter(pk__gt=last) if last else rows).values_list("pk", flat=True)[:VMS_AT_ONCE])
            if not ids:
                break
            with transaction.atomic(using=using):
                project.select_for_update().get(pk=project_id)
                fill_some(apps, using, project_id, ids)
            last = ids[-1]


def fill_some(apps, using, project_id, ids):
    interval, transition, vm = (
        apps.get_model("lifecycle", name) for name in ("MeteringInterval", "Transition", "VM")
    )
    there = set(interval.objects.using(using).filter(vm__in=ids).values_list("opened_by", flat=True))
    shapes = vm.objects.using(using).filter(pk__in=ids).annotate(disk_gib=Sum("disks__size_gib"))
    shape_of = {
        pk: {"machine_type": name, "vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": disk_gib or 0}
        for pk, name, vcpus, memory_mib, disk_gib in shapes.values_list(
            "pk", "machine_type__name", "vcpus", "memory_mib", "disk_gib"
        )
    }
    log = transition.objects.using(using).filter(vm__in=ids).order_by("vm", "id")
    new = []
    for vm_id, rows in groupby(log.values_list("vm", "id", "to_state", "occurred_at"), key=lambda row: row[0]):
        for opened_by, state, started_at, ended_at in spans(rows):
            if opened_by not in there:
                new.append(
                    interval(
                        vm_id=vm_id,
                        project_id=project_id,
                        opened_by_id=opened_by,
                        state=state,
                        started_at=started_at,
                        ended_at=ended_at,
                        **shape_of[vm_id],
                    )
                )
    interval.objects.using(using).bulk_create(new, batch_size=500)


def spans(rows):
    """Each row ends the time before it and begins the next; none occurs before the one that was written earlier."""
    before = None
    for _vm, number, state, occurred_at in rows:
        at = max(before[2], occurred_at) if before else occurred_at
        if before and before[1]:
            yield (*before, at)
        before = (number, state, at)
    if before and before[1]:
        yield (*before, None)


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("lifecycle", "0004_metering_intervals_do_not_overlap"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
