"""PostgreSQL: no two intervals of a VM share a moment.

An exclusion constraint cannot be added NOT VALID: ADD CONSTRAINT holds an ACCESS EXCLUSIVE lock on the table while its
index is built. The table is new in 0003 and the processes of the version before do not know it, so it is empty and
nobody waits; this is why the intervals are written after it, in 0005. Running it again finds it there.

btree_gist is a trusted extension: the owner of the database may create it, without being superuser.

SQLite has triggers instead (lifecycle/models/guards.py), which are put back after every migrate.
"""

from django.db import migrations

NAME = "metering_intervals_of_a_vm_do_not_overlap"
TABLE = "lifecycle_meteringinterval"


def add(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    schema_editor.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_constraint WHERE conname = %s", [NAME])
        if cursor.fetchone():
            return
    schema_editor.execute(
        f"ALTER TABLE {TABLE} ADD CONSTRAINT {NAME} EXCLUDE USING gist "
        "(vm_id WITH =, tstzrange(started_at, ended_at, '[)') WITH &&)"
    )


def remove(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {NAME}")


class Migration(migrations.Migration):

    dependencies = [
        ("lifecycle", "0003_nothing_is_lost"),
    ]

    operations = [
        migrations.RunPython(add, remove),
    ]
