"""PostgreSQL: no two intervals of an image share a moment, as 0004 says it of VMs.

The table is new in 0041 and the processes of the version before do not know it, so it is empty and nobody waits for the
index; this is why the intervals are written after it, in 0043. Running it again finds it there. SQLite has triggers
instead (lifecycle/models/guards.py), which are put back after every migrate.
"""

from django.db import migrations

NAME = "metering_intervals_of_an_image_do_not_overlap"
TABLE = "lifecycle_imageinterval"


def add(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_constraint WHERE conname = %s", [NAME])
        if cursor.fetchone():
            return
    schema_editor.execute(
        f"ALTER TABLE {TABLE} ADD CONSTRAINT {NAME} EXCLUDE USING gist "
        "(image_id WITH =, tstzrange(started_at, ended_at, '[)') WITH &&)"
    )


def remove(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {NAME}")


class Migration(migrations.Migration):

    dependencies = [
        ("lifecycle", "0041_metering_of_images"),
    ]

    operations = [
        migrations.RunPython(add, remove),
    ]
