"""Projects: the list, a new one, the way in."""

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from lifecycle.domain.errors import DomainError
from lifecycle.domain.states import State
from lifecycle.models import Membership, Project
from lifecycle.services import projects
from lifecycle.web.forms import ProjectForm
from lifecycle.web.http import Request, SeeOther, signed_in


@require_GET
@signed_in
def home(request: Request) -> HttpResponse:
    """To the only project, else to the list."""
    slugs = list(Project.objects.visible_to(request.user).values_list("slug", flat=True)[:2])
    if len(slugs) == 1:
        return redirect("web:vms", slugs[0])
    return redirect("web:projects")


@require_GET
@signed_in
def index(request: Request) -> HttpResponse:
    """Projects with their numbers of VMs and the reader's role: three queries beside the session's."""
    live = Q(vms__deleted_at__isnull=True)
    rows = Project.objects.visible_to(request.user).annotate(
        vm_count=Count("vms", filter=live & Q(vms__isnull=False)),
        running_count=Count("vms", filter=live & Q(vms__state=State.RUNNING)),
    )
    roles = dict(Membership.objects.filter(user=request.user).values_list("project_id", "role"))
    found = [(project, roles.get(project.pk, "")) for project in rows]
    return render(request, "projects/index.html", {"projects": found})


@require_http_methods(["GET", "POST"])
@signed_in
def new(request: Request) -> HttpResponse:
    """The form and what it sends."""
    form = ProjectForm(request.POST or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        try:
            project = projects.create_project(form.cleaned_data["slug"], form.cleaned_data["title"], owner=request.user)
        except DomainError as error:
            form.refuse(error)
            status = error.http_status
        else:
            messages.success(request, _("The project %(name)s is ready.") % {"name": project.slug})
            return SeeOther(f"/projects/{project.slug}/vms/")
    elif request.method == "POST":
        status = 400
    return render(request, "projects/new.html", {"form": form}, status=status)
