"""The API's addresses: one door, behind which `registry` knows the methods."""

from django.urls import path, re_path

from lifecycle.api import batch, docs, http, oauth

app_name = "api"

urlpatterns = [
    path("token", oauth.token, name="token"),
    path("docs/api", docs.page, name="docs"),
    path("docs/api/openapi.json", docs.openapi_json, name="openapi"),
    path("batch/compute/v1", batch.batch, name="batch"),
    path("batch", batch.batch),
    re_path(r"^compute/v1/(?P<path>.*)$", http.dispatch, name="compute"),
    re_path(r"^(?:batch/)?compute/", http.other_version),
]
