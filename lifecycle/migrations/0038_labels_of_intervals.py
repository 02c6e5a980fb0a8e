"""Intervals keep the labels of their VM. The guard over their columns comes back after every migrate, in both directions."""

from django.db import migrations, models

CLOSED_ONLY = "a_metering_interval_is_only_closed"
TABLE = "lifecycle_meteringinterval"


def drop_guard(apps, schema_editor):
    """It names the columns that stay. There is one more now, or (backwards) one less, which SQLite would not drop."""
    on = f" ON {TABLE}" if schema_editor.connection.vendor == "postgresql" else ""
    schema_editor.execute(f"DROP TRIGGER IF EXISTS {CLOSED_ONLY}{on}")


class Migration(migrations.Migration):

    dependencies = [
        ("lifecycle", "0037_revenue"),
    ]

    operations = [
        migrations.AddField(
            model_name="meteringinterval",
            name="labels",
            field=models.JSONField(blank=True, null=True, verbose_name="labels"),
        ),
        migrations.RunPython(drop_guard, drop_guard),
    ]
