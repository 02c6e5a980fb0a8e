"""Projects: the list, a new one, the way in."""

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from lifecycle.domain.errors import DomainError
from lifecycle.domain.states import State
from lifecycle.models import Membership, Project
from lifecycle.services import operations, projects
from lifecycle.web import dashboard
from lifecycle.web.forms import ProjectForm
from lifecycle.web.http import Request, SeeOther, signed_in


@require_GET
@signed_in
def home(request: Request) -> HttpResponse:
    """What runs, what changed and what waits for the reader; for operators also how the installation is."""
    context = dashboard.overview(request.user)
    if request.user.is_staff:
        context |= {"installation": dashboard.installation(), "queue": operations.queue()}
    return render(request, "home/_panel.html" if request.htmx else "home/index.html", context)


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
            return SeeOther(reverse("web:vm-new", args=[project.slug]))
    elif request.method == "POST":
        status = 400
    return render(request, "projects/new.html", {"form": form}, status=status)
