"""The API's addresses: one door, behind which `registry` knows the methods."""

from django.urls import re_path

from lifecycle.api import http

app_name = "api"

urlpatterns = [
    re_path(r"^compute/v1/(?P<path>.*)$", http.dispatch, name="compute"),
]
