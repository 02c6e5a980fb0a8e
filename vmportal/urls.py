"""The project's addresses."""

from django.contrib import admin
from django.urls import include, path

from vmportal.health import healthz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("lifecycle.api.urls")),
    path("", include("lifecycle.web.urls")),
]

handler400 = "lifecycle.web.views.errors.bad_request"
handler429 = "lifecycle.web.views.errors.too_many_requests"  # django-allauth asks for it
