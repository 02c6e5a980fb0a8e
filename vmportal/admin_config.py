"""Puts the product's admin site in the place of Django's."""

from importlib import import_module

from django.contrib.admin.apps import AdminConfig


class OperatorAdminConfig(AdminConfig):
    """Django's admin with the product's site: `admin.site` everywhere is this one."""

    default_site = "lifecycle.admin.site.OperatorSite"

    def ready(self) -> None:
        """Other packages' pages first: the product's replace some of them."""
        super().ready()
        import_module("lifecycle.admin.pages")
