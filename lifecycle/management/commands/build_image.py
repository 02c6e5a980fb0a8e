"""`build_image NAME`: an image built on this machine and registered, READY for VMs."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from lifecycle.imaging.build import BuiltImage, ImagingError, build, find_built
from lifecycle.imaging.catalog import RECIPES, BuildRecipe
from lifecycle.models import Image
from lifecycle.services import images


class Command(BaseCommand):
    """Does nothing when the image is READY and its file in the store; --force builds it anew."""

    help = gettext_lazy("Build an image from Debian's packages and register it.")  # type: ignore[assignment]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One of the known images, and whether to build it in any case."""
        parser.add_argument("name", choices=sorted(RECIPES), metavar="NAME", help=", ".join(sorted(RECIPES)))
        parser.add_argument("--force", action="store_true", help=_("build it even if it is there already"))

    def handle(self, *args: Any, **options: Any) -> None:
        """Find, or build, then register."""
        recipe, store = RECIPES[options["name"]], Path(settings.IMAGE_STORE)
        if not options["force"] and _is_ready(recipe, store):
            self.stdout.write(_("Image %(name)s is there already.") % {"name": recipe.name})
            return
        built = None if options["force"] else find_built(recipe, store)
        if built is None:
            self.stdout.write(_("Building image %(name)s") % {"name": recipe.name})
            built = self._build(recipe, store)
        _register(recipe, built)
        size = f"{built.size_bytes / 2**20:.1f} MiB"
        self.stdout.write(_("Image %(name)s is ready: %(size)s.") % {"name": recipe.name, "size": size})

    def _build(self, recipe: BuildRecipe, store: Path) -> BuiltImage:
        try:
            return build(recipe, store, settings.VAR / "cache" / "images", self._progress)
        except ImagingError as error:
            raise CommandError(str(error)) from error

    def _progress(self, line: str) -> None:
        self.stdout.write(f"  {line}")
        self.stdout.flush()


def _is_ready(recipe: BuildRecipe, store: Path) -> bool:
    row = Image.objects.filter(project__isnull=True, name=recipe.name, status=Image.Status.READY).first()
    return row is not None and (store / row.file_name).is_file()


def _register(recipe: BuildRecipe, built: BuiltImage) -> Image:
    return images.register(
        name=recipe.name,
        family=recipe.family,
        description=recipe.description,
        format=built.format,
        size_bytes=built.size_bytes,
        virtual_size_bytes=built.virtual_size_bytes,
        sha256=built.sha256,
        architecture=built.architecture,
        min_disk_gib=recipe.min_disk_gib,
        min_memory_mib=recipe.min_memory_mib,
        default_user=recipe.default_user,
        file_name=built.path.name,
    )
