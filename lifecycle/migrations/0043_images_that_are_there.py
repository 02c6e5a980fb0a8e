"""The images that projects have are metered from now on, never for the time before: nobody was told of that price.

Safe on a running system: one short transaction a project, whose row is locked as every import and deletion locks it.
Safe to run again: an image that has a log is left as it is. What processes of the version before bring in or delete
after their project's turn is put right by the workers' next round (`services.image_metering.put_right`).
"""

from django.db import migrations, transaction
from django.utils import timezone

MIB = 2**20


def fill(apps, schema_editor):
    using = schema_editor.connection.alias
    project, image = (apps.get_model("lifecycle", name).objects.using(using) for name in ("Project", "Image"))
    with_images = image.filter(project__isnull=False, status__in=("ready", "deprecated"))
    for project_id in list(with_images.order_by("project").values_list("project", flat=True).distinct()):
        with transaction.atomic(using=using):
            project.select_for_update().get(pk=project_id)
            fill_project(apps, using, project_id, with_images.filter(project=project_id))


def fill_project(apps, using, project_id, images):
    change, interval = (
        apps.get_model("lifecycle", name).objects.using(using) for name in ("ImageChange", "ImageInterval")
    )
    logged = set(change.filter(project=project_id).values_list("image", flat=True))
    now = timezone.now()
    for image_id, size in images.order_by("pk").values_list("pk", "size_bytes"):
        if image_id in logged:
            continue
        row = {"image_id": image_id, "project_id": project_id, "size_mib": -(-size // MIB)}
        opened_by = change.create(kind="found", occurred_at=now, recorded_at=now, **row)
        interval.create(opened_by=opened_by, started_at=now, **row)


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("lifecycle", "0042_metering_of_images_does_not_overlap"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
