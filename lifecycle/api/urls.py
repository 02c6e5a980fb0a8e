"""The API's addresses: one door, behind which `registry` knows the methods."""

from django.urls import path, re_path

from lifecycle.api import batch, http

app_name = "api"

urlpatterns = [
    path("batch/compute/v1", batch.batch, name="batch"),
    path("batch", batch.batch),
    re_path(r"^compute/v1/(?P<path>.*)$", http.dispatch, name="compute"),
]
