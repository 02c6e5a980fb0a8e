"""Forms: they parse and say all that is wrong at once; the rules themselves are the domain's."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from django import forms
from django.conf import settings
from django.db.models import F
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext_lazy as _

from lifecycle import labels
from lifecycle.domain import budgets, guests, imports, schedules, vm_labels, webhooks
from lifecycle.domain.errors import DomainError, InvalidInput
from lifecycle.models import Image, MachineType, Project, Zone
from lifecycle.models.images import Firmware
from lifecycle.models.prices import LANGUAGE_CHOICES
from lifecycle.models.projects import ROLE_CHOICES
from lifecycle.services import tokens
from lifecycle.services.accounts import time_zones
from lifecycle.services.image_imports import ImportRequest
from lifecycle.services.vms import VMRequest
from lifecycle.web.refusals import text_of

T = TypeVar("T")
CUSTOM = "custom"


def checked(check: Callable[[T], T], value: Any) -> T:
    """`value` through one of the domain's checks; its refusal becomes the field's error."""
    try:
        return check(value)
    except InvalidInput as error:
        raise forms.ValidationError(text_of(error)) from error


class PortalForm(forms.Form):
    """A form that takes refusals of a service and ties its errors to its fields for screen readers."""

    template_name = "forms/form.html"

    def refuse(self, error: DomainError) -> None:
        """Show a service's refusal beside the field it names, else above the form."""
        self.add_error(error.field if error.field in self.fields else None, text_of(error))

    @property
    def wrong_fields(self) -> list[forms.BoundField]:
        """The visible fields with errors, for the summary."""
        return [field for field in self.visible_fields() if field.errors]


class VMForm(PortalForm):
    """A new VM. Only the name is needed."""

    request_id = forms.UUIDField(required=False, widget=forms.HiddenInput)
    name = forms.CharField(
        label=_("Name"),
        widget=forms.TextInput(
            {
                "autofocus": True,
                "autocomplete": "off",
                "spellcheck": "false",
                "autocapitalize": "none",
                "placeholder": "web-1",
                "data-select": True,
            }
        ),
        help_text=_("Small letters, digits and hyphens. It becomes the host name and cannot be changed later."),
        error_messages={"required": _("Give the VM a name.")},
    )
    ssh_keys = forms.CharField(
        label=_("SSH public keys"),
        required=False,
        widget=forms.Textarea(
            {"rows": 3, "class": "code", "spellcheck": "false", "placeholder": "ssh-ed25519 AAAA… you@laptop"}
        ),
        help_text=_("One a line. Without a key nobody can sign in to the guest by SSH."),
    )
    use_my_keys = forms.BooleanField(label=_("My SSH keys"), required=False, initial=True)
    use_project_keys = forms.BooleanField(label=_("The project's SSH keys"), required=False, initial=True)
    machine_type = forms.CharField(label=_("Machine type"), required=False)
    vcpus = forms.IntegerField(label=_("vCPUs"), required=False)
    memory_mib = forms.IntegerField(label=_("Memory (MiB)"), required=False)
    image = forms.CharField(label=_("Image"), required=False)
    disk_gib = forms.IntegerField(
        label=_("Disk size (GiB)"), required=False, help_text=_("Empty: as large as the image needs.")
    )
    firmware = forms.ChoiceField(
        label=_("Firmware"),
        required=False,
        choices=[("", _("As the image says")), *Firmware.choices],
        help_text=_("What starts the guest's boot loader."),
    )
    zone = forms.CharField(label=_("Zone"), required=False)
    labels = forms.CharField(
        label=_("Labels"),
        required=False,
        widget=forms.Textarea({"rows": 2, "class": "code", "spellcheck": "false", "placeholder": "env=prod"}),
        help_text=_("One key=value a line. The list and the search find VMs by them."),
    )
    startup_script = forms.CharField(
        label=_("Startup script"),
        required=False,
        strip=False,
        widget=forms.Textarea({"rows": 4, "class": "code", "spellcheck": "false", "placeholder": "#!/bin/sh"}),
        help_text=_("Runs as root at every boot."),
    )
    user_data = forms.CharField(
        label=_("User data"),
        required=False,
        strip=False,
        widget=forms.Textarea({"rows": 4, "class": "code", "spellcheck": "false", "placeholder": "#cloud-config"}),
        help_text=_("For cloud-init, at the first boot."),
    )
    automatic_restart = forms.BooleanField(
        label=_("Automatic restart"),
        required=False,
        initial=True,
        help_text=_("Starts again by itself after a crash or a failure of its host, never after you stop it."),
    )
    deletion_protection = forms.BooleanField(
        label=_("Deletion protection"),
        required=False,
        help_text=_("Refuses to delete the VM until it is switched off."),
    )
    stop_grace_seconds = forms.IntegerField(
        label=_("Grace period at stop (seconds)"),
        required=False,
        initial=90,
        help_text=_("How long the guest may take to shut down before it is forced off."),
    )

    #: Fields that are not under "More options".
    FIRST = ("name", "ssh_keys", "use_my_keys", "use_project_keys")

    def __init__(self, *args: Any, choices: "VMChoices", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choices = choices
        self.fields["machine_type"].initial = choices.machine_type.name if choices.machine_type else ""
        self.fields["image"].initial = choices.image.name if choices.image else ""
        self.fields["vcpus"].initial = choices.machine_type.vcpus if choices.machine_type else 1
        self.fields["memory_mib"].initial = choices.machine_type.memory_mib if choices.machine_type else 512

    def clean_name(self) -> str:
        return checked(guests.check_name, self.cleaned_data["name"])

    def clean_ssh_keys(self) -> str:
        return checked(guests.check_ssh_keys, self.cleaned_data["ssh_keys"])

    def clean_labels(self) -> dict[str, str]:
        try:
            return vm_labels.parse_labels(self.cleaned_data["labels"])
        except InvalidInput as error:
            raise forms.ValidationError(text_of(error)) from error

    def clean_startup_script(self) -> str:
        return checked(guests.check_startup_script, self.cleaned_data["startup_script"].replace("\r\n", "\n"))

    def clean_user_data(self) -> str:
        return checked(guests.check_user_data, self.cleaned_data["user_data"].replace("\r\n", "\n"))

    def clean_stop_grace_seconds(self) -> int:
        value = self.cleaned_data["stop_grace_seconds"]
        return checked(guests.check_grace, 90 if value is None else value)

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data.get("machine_type") == CUSTOM:
            for name in ("vcpus", "memory_mib"):
                if data.get(name) is None and name not in self.errors:
                    self.add_error(name, _("A custom machine type needs this number."))
            if not self.errors.keys() & {"vcpus", "memory_mib"}:
                self._check_shape(data["vcpus"], data["memory_mib"])
        return data

    def _check_shape(self, vcpus: int, memory_mib: int) -> None:
        try:
            guests.check_shape(vcpus, memory_mib)
        except InvalidInput as error:
            self.refuse(error)

    @property
    def more_is_open(self) -> bool:
        """Whether "More options" holds an error, and so has to be open."""
        return any(name not in self.FIRST for name in self.errors)

    def as_request(self) -> VMRequest:
        """What the service is asked for."""
        data = self.cleaned_data
        machine_type = data["machine_type"]
        if machine_type == CUSTOM:
            machine_type = f"custom-{data['vcpus']}-{data['memory_mib']}"
        return VMRequest(
            name=data["name"],
            zone=data["zone"],
            machine_type=machine_type,
            image=data["image"],
            firmware=data["firmware"],
            disk_gib=data["disk_gib"],
            ssh_keys=data["ssh_keys"],
            use_my_keys=data["use_my_keys"],
            use_project_keys=data["use_project_keys"],
            startup_script=data["startup_script"],
            user_data=data["user_data"],
            automatic_restart=data["automatic_restart"],
            stop_grace_seconds=data["stop_grace_seconds"],
            deletion_protection=data["deletion_protection"],
            labels=data["labels"],
        )


class VMChoices:
    """What a new VM can be made of, and what is taken when nothing is said: three queries."""

    def __init__(self, project: Project) -> None:
        self.machine_types = list(MachineType.objects.filter(retired=False))
        ready = Image.objects.usable_in(project).filter(status=Image.Status.READY)
        self.images = list(ready.order_by("kind", F("project").asc(nulls_first=True), "pk"))
        self.zones = list(Zone.objects.order_by("name"))

    @property
    def machine_type(self) -> MachineType | None:
        """The default machine type."""
        marked = [m for m in self.machine_types if m.is_default]
        return next(iter(marked or self.machine_types), None)

    @property
    def image(self) -> Image | None:
        """The default image."""
        return next((image for image in self.images if image.kind == "disk"), None)


class ProjectForm(PortalForm):
    """A new project."""

    slug = forms.CharField(
        label=_("Name"),
        widget=forms.TextInput(
            {"autofocus": True, "autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
        ),
        help_text=_("Small letters, digits and hyphens. It stands in addresses and cannot be changed later."),
        error_messages={"required": _("Give the project a name.")},
    )
    title = forms.CharField(
        label=_("Title"), required=False, max_length=100, help_text=_("For people: what the project is for.")
    )


class ImageImportForm(PortalForm):
    """An image to bring in: from an address, or from a file."""

    name = forms.CharField(
        label=_("Name"),
        max_length=63,
        widget=forms.TextInput(
            {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none", "placeholder": "debian-13"}
        ),
        help_text=_("Small letters, digits and hyphens."),
        error_messages={"required": _("Give the image a name.")},
    )
    url = forms.CharField(
        label=_("Address"),
        required=False,
        max_length=2000,
        widget=forms.URLInput({"placeholder": "https://cloud.debian.org/…/debian-13-genericcloud-amd64.qcow2"}),
        help_text=_("http or https. The worker fetches it; a transfer that breaks off goes on where it stopped."),
    )
    file = forms.FileField(
        label=_("Or a file of yours"),
        required=False,
        allow_empty_file=True,
        help_text=_("It is sent in pieces, and goes on where it stopped when you choose the same file again."),
    )
    sha256 = forms.CharField(
        label=_("SHA-256 checksum"),
        required=False,
        max_length=300,
        widget=forms.TextInput({"class": "code", "spellcheck": "false", "autocomplete": "off"}),
        help_text=_("As the publisher names it (SHA256SUMS). Needed with an address."),
    )
    family = forms.CharField(
        label=_("Family"),
        required=False,
        max_length=63,
        help_text=_("A VM made from a family gets its newest image. Empty: the image's own name."),
    )
    description = forms.CharField(label=_("Description"), required=False, max_length=200)
    firmware = forms.ChoiceField(label=_("Firmware"), choices=Firmware.choices, initial="bios")
    default_user = forms.CharField(
        label=_("User"),
        required=False,
        max_length=32,
        help_text=_("Whom SSH keys let in: debian, ubuntu, fedora … Empty: root."),
    )
    min_memory_mib = forms.IntegerField(label=_("Minimum memory (MiB)"), required=False, initial=256)
    upload_size = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def clean_name(self) -> str:
        return checked(imports.check_image_name, self.cleaned_data["name"])

    def clean_sha256(self) -> str:
        return checked(imports.check_sha256, self.cleaned_data["sha256"])

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        ways = [bool(data.get("url")), bool(data.get("file")) or data.get("upload_size") is not None]
        if "url" not in self.errors and "file" not in self.errors and sum(ways) != 1:
            text = _("Give an address or a file, not both.") if all(ways) else _("Give an address, or choose a file.")
            self.add_error("url", text)
        return data

    def as_request(self) -> ImportRequest:
        """What the service is asked for."""
        data = self.cleaned_data
        size = data["file"].size if data["file"] else data["upload_size"]
        return ImportRequest(
            name=data["name"],
            url=data["url"],
            sha256=data["sha256"],
            family=data["family"],
            description=data["description"],
            firmware=data["firmware"],
            default_user=data["default_user"] or "root",
            min_memory_mib=256 if data["min_memory_mib"] is None else data["min_memory_mib"],
            total_bytes=None if data["url"] else size,
        )


class SSHKeyForm(PortalForm):
    """A public key to keep."""

    key = forms.CharField(
        label=_("Public key"),
        widget=forms.Textarea(
            {"rows": 3, "class": "code", "spellcheck": "false", "placeholder": "ssh-ed25519 AAAA… you@laptop"}
        ),
        help_text=_("The one line of a .pub file, such as ~/.ssh/id_ed25519.pub."),
        error_messages={"required": _("Paste a public key.")},
    )
    name = forms.CharField(label=_("Name"), required=False, max_length=60, help_text=_("Empty: the key's own comment."))


class InvitationForm(PortalForm):
    """An invitation."""

    email = forms.CharField(
        label=_("E-mail address"),
        max_length=254,
        widget=forms.EmailInput({"autocomplete": "off"}),
        error_messages={"required": _("Say whom to invite.")},
    )
    role = forms.ChoiceField(label=_("Role"), choices=ROLE_CHOICES, initial="operator")


class TokenForm(PortalForm):
    """A new access token."""

    name = forms.CharField(
        label=_("Name"),
        max_length=60,
        widget=forms.TextInput({"autocomplete": "off", "placeholder": "laptop"}),
        help_text=_("What will use it."),
        error_messages={"required": _("Give the token a name.")},
    )
    projects = forms.MultipleChoiceField(
        label=_("Projects"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one project for the token.")},
    )
    access = forms.ChoiceField(
        label=_("Access"), choices=[("read", _("reads")), ("write", _("reads and changes"))], initial="read"
    )
    kind = forms.ChoiceField(
        label=_("Kind"),
        choices=[("token", _("token, shown once")), ("key", _("key file of a service account, for one project"))],
        initial="token",
        required=False,
    )
    days = forms.IntegerField(
        label=_("Days until it expires"), initial=90, min_value=tokens.DAYS[0], max_value=tokens.DAYS[-1]
    )

    def __init__(self, *args: Any, projects: list[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = cast(forms.MultipleChoiceField, self.fields["projects"])
        field.choices = [(project.slug, project.slug) for project in projects]
        if len(projects) == 1:
            field.initial = [projects[0].slug]


def _zone_choices() -> list[tuple[str, Any]]:
    """Time zones by continent, as groups of a select."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(time_zones()):
        area, _slash, place = name.partition("/")
        if place and area not in {"Etc", "SystemV", "posix", "right"}:
            groups.setdefault(area, []).append((name, place.replace("_", " ").replace("/", " – ")))
    return [("", _("As the browser says")), ("UTC", "UTC"), *groups.items()]


class PreferencesForm(PortalForm):
    """Language and time zone."""

    language = forms.ChoiceField(label=_("Language"), required=False)
    time_zone = forms.ChoiceField(
        label=_("Time zone"), required=False, choices=_zone_choices, help_text=_("Times on every page are shown in it.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Each language in its own words.
        own = {"en": "English", "fr": "Français"}
        field = cast(forms.ChoiceField, self.fields["language"])
        field.choices = [
            ("", _("As the browser says")),
            *((code, own.get(code, name)) for code, name in settings.LANGUAGES),
        ]


class AccountForm(PortalForm):
    """Where a project's bills go."""

    name = forms.CharField(label=_("Name on the invoice"), required=False, max_length=200)
    address = forms.CharField(
        label=_("Postal address"), required=False, max_length=500, widget=forms.Textarea({"rows": 3})
    )
    country = forms.CharField(
        label=_("Country"), required=False, max_length=2, help_text=_("Two letters, as in FR or DE.")
    )
    tax_id = forms.CharField(label=_("Tax number"), required=False, max_length=30)
    email = forms.EmailField(label=_("E-mail for invoices"), required=False)
    language = forms.ChoiceField(label=_("Language of invoices"), choices=LANGUAGE_CHOICES)
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        choices=lambda: _zone_choices()[1:],
        help_text=_("A month begins at midnight there. A change counts from the next month on."),
    )


class WebhookForm(PortalForm):
    """A new webhook."""

    url = forms.CharField(
        label=_("Address"),
        max_length=imports.URL_MAX,
        widget=forms.URLInput({"autocomplete": "off", "placeholder": "https://example.org/hook"}),
        help_text=_("Messages are sent there by POST. Redirects are not followed."),
        error_messages={"required": _("Give the address that is to be told.")},
    )
    kinds = forms.MultipleChoiceField(
        label=_("Events"),
        choices=[(kind.value, labels.WEBHOOK_KINDS[kind]) for kind in webhooks.CHOICES],
        initial=[kind.value for kind in webhooks.CHOICES],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one event.")},
    )


class PromotionForm(PortalForm):
    """A promotion code."""

    code = forms.CharField(
        label=_("Promotion code"), max_length=40, widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"})
    )


class BudgetForm(PortalForm):
    """A budget of a project."""

    name = forms.CharField(
        label=_("Name"),
        max_length=60,
        widget=forms.TextInput({"autocomplete": "off", "placeholder": _("All VMs")}),
        error_messages={"required": _("Give the budget a name.")},
    )
    amount = forms.DecimalField(
        label=_("Amount a month"),
        max_digits=11,
        decimal_places=2,
        localize=True,
        widget=forms.TextInput({"inputmode": "decimal", "autocomplete": "off"}),
        help_text=_("Without tax, after discounts and before credits: as the costs page reckons."),
    )
    thresholds = forms.CharField(
        label=_("Tell at (%)"),
        max_length=80,
        initial=", ".join(str(percent) for percent in budgets.DEFAULT_THRESHOLDS),
        help_text=_("Percentages of the amount, such as 50, 90, 100. Each is told once a month."),
    )
    forbid_at = forms.IntegerField(
        label=_("No new VMs from (%)"), required=False, help_text=_("Empty: new VMs are always allowed.")
    )
    suspend_at = forms.IntegerField(
        label=_("Suspend VMs from (%)"),
        required=False,
        help_text=_("Empty: never. Their memory is saved, they can be resumed, and nothing is deleted."),
    )
    notice_hours = forms.IntegerField(
        label=_("Notice before that (hours)"), initial=24, help_text=_("Owners and operators are told so long before.")
    )
    webhook_url = forms.CharField(
        label=_("Webhook"),
        required=False,
        max_length=budgets.URL_MAX,
        widget=forms.TextInput(
            {"autocomplete": "off", "spellcheck": "false", "placeholder": "https://example.org/budget"}
        ),
        help_text=_("Gets a signed message, too. Its secret is shown once, when the address is new."),
    )

    def clean_thresholds(self) -> list[int]:
        """As percentages."""
        try:
            return budgets.parse_thresholds(self.cleaned_data["thresholds"])
        except InvalidInput as error:
            raise forms.ValidationError(text_of(error)) from error


class ScheduleForm(PortalForm):
    """A time at which a VM is started or stopped."""

    action = forms.ChoiceField(label=_("What"), choices=[(a.value, labels.ACTIONS[a]) for a in schedules.ACTIONS])
    at = forms.TimeField(
        label=_("Time"),
        widget=forms.TimeInput({"type": "time", "step": 60}, format="%H:%M"),
        error_messages={"required": _("Say at what time."), "invalid": _("A time is written as 19:30.")},
    )
    days = forms.TypedMultipleChoiceField(
        label=_("Days"),
        coerce=int,
        choices=list(WEEKDAYS.items()),
        initial=sorted(schedules.WORKING_DAYS),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one day of the week.")},
    )
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        choices=lambda: _zone_choices()[1:],
        help_text=_(
            "Summer time is followed. A time that the clock skips is done when it has; one it shows twice, once."
        ),
    )
