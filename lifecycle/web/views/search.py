"""The search page, and what the command palette shows of it."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from lifecycle.models import Project
from lifecycle.web import finding
from lifecycle.web.http import Request, signed_in, text_param


@require_GET
@signed_in
def search(request: Request) -> HttpResponse:
    """Everything that fits; for htmx the results alone. `in` names the project one comes from."""
    words = text_param(request, "q")
    slug = text_param(request, "in", 40)
    project = Project.objects.visible_to(request.user).filter(slug=slug).first() if slug else None
    context = {"words": words, "project": project, "groups": finding.find(request.user, words, project)}
    return render(request, "search/_results.html" if request.htmx else "search/index.html", context)
