"""Findings: where a host and the record disagree. An operator chooses, the reconciler of the host carries it out."""

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from lifecycle.admin.base import ReadOnlyAdmin, badge, list_url, outcome, person
from lifecycle.admin.filters import Openness
from lifecycle.admin.finding_facts import facts, title
from lifecycle.domain.errors import DomainError
from lifecycle.domain.findings import Choice, Kind, choices, consequence
from lifecycle.labels import refusal_text, retold
from lifecycle.models import Finding, Project
from lifecycle.services import findings


class ChoiceForm(forms.Form):
    """What to do about one finding; adopting a domain needs a project and a name."""

    choice = forms.ChoiceField(label=_("choice"), widget=UnfoldAdminSelectWidget)
    project = forms.ModelChoiceField(
        Project.objects.all(), label=_("project (to adopt)"), required=False, widget=UnfoldAdminSelectWidget
    )
    name = forms.CharField(label=_("name (to adopt)"), max_length=63, required=False, widget=UnfoldAdminTextInputWidget)

    def __init__(self, finding: Finding, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # a form's own arguments
        names = dict(Finding.Choice.choices)
        self.offered = choices(Kind(finding.kind), finding.details)
        field = self.fields["choice"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  # declared above
        field.choices = [(each.value, names[each.value]) for each in self.offered]
        if Choice.ADOPT not in self.offered:
            del self.fields["project"], self.fields["name"]


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin):
    """Open findings first, and of them those that wait for a choice. Whoever may change hosts may choose."""

    list_display = ["about", "kind", "host", "vm", "state", "first_seen_at", "last_seen_at"]
    list_filter = [
        Openness,
        ("kind", ChoicesDropdownFilter),
        ("choice", ChoicesDropdownFilter),
        ("host", AutocompleteSelectFilter),
    ]
    search_fields = ["subject", "vm__name", "text"]
    list_select_related = ["host", "vm"]
    ordering = [F("closed_at").desc(nulls_first=True), "choice", "-first_seen_at"]
    actions = ["choose", "withdraw"]
    fieldsets = [
        (None, {"fields": ["kind", "subject", "host", "vm", "shown_text", "first_seen_at", "last_seen_at"]}),
        (_("Choice"), {"fields": ["state", "chosen_by", "chosen_at", "due_at", "problem"]}),
        (_("Details"), {"fields": ["shown_details", "closed_at", "closed_because"]}),
    ]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this member of the staff may choose."""
        return request.user.has_perm("lifecycle.change_host")

    @display(description=_("subject"), ordering="subject")
    def about(self, finding: Finding) -> str:
        """The name of what it is about."""
        return title(finding.subject, finding.details)

    @display(description=_("state"), ordering="choice")
    def state(self, finding: Finding) -> SafeString:
        """Waits for a choice, is being carried out, or closed."""
        if finding.closed_at:
            return badge(gettext("closed"))
        if finding.problem:
            return format_html("{} {}", badge(finding.get_choice_display(), "danger"), retold(finding.problem))
        return badge(finding.get_choice_display(), "info" if finding.choice else "warning")

    @display(description=_("what was found"))
    def shown_text(self, finding: Finding) -> str:
        """The text in the reader's language."""
        return retold(finding.text)

    @display(description=_("details"))
    def shown_details(self, finding: Finding) -> SafeString:
        """What is known of it."""
        rows = format_html_join("", "<dt>{}</dt><dd>{}</dd>", facts(finding.details))
        return format_html('<dl class="op-facts">{}</dl>', rows) if rows else SafeString("–")

    @action(description=_("Choose…"), permissions=["operate"])
    def choose(self, request: HttpRequest, queryset: QuerySet[Finding]) -> HttpResponse | None:
        """Choose what is to be done about one finding, on a page that says what becomes of it."""
        rows = list(queryset[:2])
        if len(rows) != 1:
            messages.error(request, gettext("Choose one finding at a time."))
            return None
        finding = rows[0]
        form = ChoiceForm(finding, *([request.POST] if "choice" in request.POST else []))
        if form.is_bound and form.is_valid():
            values = dict(form.cleaned_data)
            try:
                findings.choose(finding, Choice(values.pop("choice")), person(request), **values)
            except DomainError as error:
                messages.error(request, refusal_text(error))
            else:
                messages.success(request, gettext("The choice is noted; the host's reconciler carries it out."))
                return HttpResponseRedirect(list_url(Finding))
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Choose"),
            "opts": self.opts,
            "finding": finding,
            "form": form,
            "about": title(finding.subject, finding.details),
            "facts": facts(finding.details),
            "consequences": [_consequence(finding, choice) for choice in form.offered],
            "list_url": list_url(Finding),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/lifecycle/finding/choose.html", context)

    @action(description=_("Take the choice back"), permissions=["operate"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[Finding]) -> None:
        """The chosen findings wait for another choice."""
        user = person(request)
        outcome(request, queryset, lambda finding: _withdrawn(findings.withdraw(finding, user)))


def _withdrawn(_finding: Finding) -> str:
    return gettext("waits for a choice again.")


def _consequence(finding: Finding, choice: Choice) -> tuple[str, str]:
    """The choice's name, and what becomes of it."""
    text = consequence(Kind(finding.kind), choice, finding.details)
    shown = retold(text) if text else gettext("It is listed as open work no more.")
    return str(dict(Finding.Choice.choices)[choice.value]), shown
