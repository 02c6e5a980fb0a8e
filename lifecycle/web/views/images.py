"""Images: what VMs can be made from, and bringing in others. Of a project, or (without a slug: the staff) of all."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, F, Q
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from lifecycle.billing import costs
from lifecycle.domain.access import Right
from lifecycle.domain.errors import DomainError, InvalidInput
from lifecycle.domain.imports import GIB
from lifecycle.models import Image, ImageImport, Project, Quota
from lifecycle.services import image_imports, images
from lifecycle.web import uploads
from lifecycle.web.access import Place, place_of
from lifecycle.web.forms import ImageImportForm
from lifecycle.web.http import Request, SeeOther, page_param, signed_in
from lifecycle.web.refusals import refusal_of, text_of, told
from lifecycle.web.views.errors import post_only

PAGE_SIZE = 50
IMPORTS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where images lie: a project as somebody sees it, or what is for everybody."""

    place: Place | None

    @property
    def project(self) -> Project | None:
        """The project; None: for everybody."""
        return self.place.project if self.place else None

    @property
    def may_change(self) -> bool:
        """Whether images may be brought in, deprecated and deleted."""
        return self.place is None or self.place.may_use

    def url(self, name: str, *args: Any) -> str:
        """An address of this shelf."""
        if self.place is None:
            return reverse(f"web:public-{name}", args=args)
        return reverse(f"web:{name}", args=[self.place.project.slug, *args])

    def context(self, **more: Any) -> dict[str, Any]:
        """What its pages share."""
        addresses = {"list": self.url("images"), "new": self.url("image-new")}
        base = "project_base.html" if self.place else "base.html"
        return {"shelf": self, "place": self.place, "base": base, "addresses": addresses, **more}


def _shelf(request: Request, slug: str, *, change: bool = False) -> Shelf:
    if not slug:
        if not request.user.is_staff:
            raise PermissionDenied(_("Only the operators of this site change images that are for everybody."))
        return Shelf(None)
    place = place_of(request.user, slug)
    if change:
        place.require(Right.USE_VMS)
    return Shelf(place)


@require_GET
@signed_in
def index(request: Request, slug: str = "") -> HttpResponse:
    """What VMs can be made from, and what is on its way; for htmx the part on its way alone."""
    shelf = _shelf(request, slug)
    if request.htmx:
        return render(request, "images/_imports.html", shelf.context(imports=_imports(shelf)))
    rows = Image.objects.usable_in(shelf.project) if shelf.project else Image.objects.kept().filter(project=None)
    counted = rows.annotate(vm_count=Count("vms", filter=_live_in(shelf)))
    ordered = counted.order_by(F("project").desc(nulls_last=True), "family", "-created_at")
    page = Paginator(ordered, PAGE_SIZE).get_page(page_param(request, "page"))
    context = shelf.context(page=page, imports=_imports(shelf), **_quota(shelf))
    return render(request, "images/index.html", context)


def _live_in(shelf: Shelf) -> Q:
    live = Q(vms__deleted_at__isnull=True, vms__isnull=False)
    return live & Q(vms__project=shelf.project) if shelf.project else live


def _imports(shelf: Shelf) -> list[ImageImport]:
    """The newest of all, those under way included."""
    found = ImageImport.objects.filter(project=shelf.project).select_related("user", "image")
    return list(found[:IMPORTS_SHOWN])


def _quota(shelf: Shelf) -> dict[str, int]:
    if shelf.project is None:
        return {}
    limit = Quota.objects.values_list("image_gib", flat=True).get(project=shelf.project)
    return {"quota_gib": limit, "used_bytes": images.usage_bytes(shelf.project), "quota_bytes": limit * GIB}


@require_http_methods(["GET", "POST"])
@signed_in
def new(request: Request, slug: str = "") -> HttpResponse:
    """The form, and what it sends: an address, a file in one piece, or (by script) the announcement of an upload."""
    shelf = _shelf(request, slug, change=True)
    if request.method == "GET":
        return _form(request, shelf, ImageImportForm())
    if error := _too_large(request):
        form = ImageImportForm({})
        return _form(request, shelf, form, status=413, refusal=refusal_of(error))
    form = ImageImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _form_refused(request, shelf, form, 400)
    try:
        row = image_imports.request_import(
            shelf.project, form.as_request(), user=request.user, file_max=uploads.file_max()
        )
        if form.cleaned_data["file"]:
            uploads.take(row, form.cleaned_data["file"].file, 0)
    except DomainError as error:
        form.refuse(error)
        return _form_refused(request, shelf, form, error.http_status)
    page = shelf.url("image-import", row.pk)
    if _wants_json(request):
        return JsonResponse({"page": page, "piece": shelf.url("image-piece", row.pk), "offset": 0}, status=201)
    return SeeOther(page)


def _too_large(request: Request) -> InvalidInput | None:
    """Asked before the body is looked at: a plain form is for small files."""
    most = settings.IMAGE_PLAIN_UPLOAD_MAX_MIB
    length = request.headers.get("Content-Length", "0")
    if length.isdigit() and int(length) <= most * 2**20:
        return None
    return InvalidInput(
        "A file of more than %(most)s MiB is sent in pieces, which needs JavaScript; or give an address.", most=most
    )


def _wants_json(request: Request) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def _form(request: Request, shelf: Shelf, form: ImageImportForm, status: int = 200, **more: Any) -> HttpResponse:
    facts = {"form": form, "max_gib": settings.IMAGE_IMPORT_MAX_GIB, "plain_mib": settings.IMAGE_PLAIN_UPLOAD_MAX_MIB}
    if shelf.project:
        facts["gib"] = costs.preview_image(1024, timezone.now())
    return render(request, "images/new.html", shelf.context(**facts, **more), status=status)


def _form_refused(request: Request, shelf: Shelf, form: ImageImportForm, status: int) -> HttpResponse:
    if _wants_json(request):
        return JsonResponse({"errors": form.errors}, status=status)
    return _form(request, shelf, form, status)


# -- an import -----------------------------------------------------------------------------------


@require_GET
@signed_in
def show(request: Request, import_id: UUID, slug: str = "") -> HttpResponse:
    """How far an import is, or how it ended; for htmx its panel alone."""
    shelf = _shelf(request, slug)
    context = shelf.context(row=_import(shelf, import_id))
    return render(request, "images/_import.html" if request.htmx else "images/import.html", context)


@require_http_methods(["GET", "POST"])
@signed_in
def piece(request: Request, import_id: UUID, slug: str = "") -> HttpResponse:
    """GET: how much of an upload has come. POST: the next piece, as plain bytes that begin at `offset`."""
    shelf = _shelf(request, slug, change=True)
    row = _import(shelf, import_id)
    if request.method == "GET":
        return JsonResponse({"offset": uploads.received(row), "open": row.status == ImageImport.Status.UPLOADING})
    length, offset = request.headers.get("Content-Length", ""), request.GET.get("offset", "")
    if not (length.isdigit() and int(length) <= uploads.PIECE_MAX and offset.isdigit() and len(offset) < 16):
        return JsonResponse({"error": _("A piece has at most 64 MiB and says where it begins.")}, status=400)
    try:
        at = uploads.take(row, request, int(offset))
    except uploads.WrongOffset as error:
        return JsonResponse({"offset": error.at}, status=409)
    except DomainError as error:
        return JsonResponse({"error": text_of(error)}, status=error.http_status)
    return JsonResponse({"offset": at})


@post_only
@signed_in
def cancel(request: Request, import_id: UUID, slug: str = "") -> HttpResponse:
    """End an import that is under way."""
    shelf = _shelf(request, slug, change=True)
    row = _import(shelf, import_id)
    with told(request, _("The import of %(name)s is cancelled.") % {"name": row.name}):
        image_imports.cancel(row, user=request.user)
    return SeeOther(shelf.url("images"))


def _import(shelf: Shelf, import_id: UUID) -> ImageImport:
    try:
        return image_imports.find(shelf.project, import_id)
    except DomainError as error:
        raise Http404(text_of(error)) from error


# -- an image ------------------------------------------------------------------------------------


@post_only
@signed_in
def deprecate(request: Request, image_id: int, slug: str = "") -> HttpResponse:
    """Offer an image no more, or again."""
    shelf = _shelf(request, slug, change=True)
    image = _image(shelf, image_id)
    on = request.POST.get("on") != "no"
    images.set_deprecated(image, on, user=request.user)
    text = _("%(name)s is deprecated: no new VM gets it.") if on else _("%(name)s is offered again.")
    messages.success(request, text % {"name": image.name})
    return SeeOther(shelf.url("images"))


@require_GET
@signed_in
def confirm_delete(request: Request, image_id: int, slug: str = "") -> HttpResponse:
    """What is lost, and the button."""
    shelf = _shelf(request, slug, change=True)
    context = shelf.context(image=_image(shelf, image_id), delete_url=shelf.url("image-delete", image_id))
    return render(request, "images/_confirm.html" if request.htmx else "images/confirm.html", context)


@post_only
@signed_in
def delete(request: Request, image_id: int, slug: str = "") -> HttpResponse:
    """Delete an image that no VM stands on."""
    shelf = _shelf(request, slug, change=True)
    image = _image(shelf, image_id)
    with told(request, _("The image %(name)s is deleted.") % {"name": image.name}):
        images.delete(image, user=request.user)
    return SeeOther(shelf.url("images"))


def _image(shelf: Shelf, image_id: int) -> Image:
    """An image of this very shelf: what is for everybody is not changed from within a project."""
    found = Image.objects.kept().filter(project=shelf.project, pk=image_id).select_related("project").first()
    if found is None:
        raise Http404(_("There is no such image here."))
    return found
