"""The intervals of before get the family of their machine type and the zone of their VM, as they are now.

After 0023 and apart from it: what changes rows waits for no change of a table in the same transaction. The guard that
lets an interval only be closed was dropped there and comes back after the migrate.
"""

from django.db import migrations
from django.db.models import OuterRef, Subquery

CLOSED_ONLY = "a_metering_interval_is_only_closed"
TABLE = "lifecycle_meteringinterval"


def fill(apps, schema_editor):
    on = f" ON {TABLE}" if schema_editor.connection.vendor == "postgresql" else ""
    schema_editor.execute(f"DROP TRIGGER IF EXISTS {CLOSED_ONLY}{on}")
    intervals = apps.get_model("lifecycle", "MeteringInterval").objects
    types = apps.get_model("lifecycle", "MachineType").objects.filter(name=OuterRef("machine_type"))
    vms = apps.get_model("lifecycle", "VM").objects.filter(pk=OuterRef("vm"))
    intervals.filter(family="", machine_type__in=apps.get_model("lifecycle", "MachineType").objects.values("name")).update(
        family=Subquery(types.values("family")[:1])
    )
    intervals.filter(zone="").update(zone=Subquery(vms.values("zone__name")[:1]))


class Migration(migrations.Migration):

    dependencies = [
        ("lifecycle", "0023_prices_and_invoices"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
