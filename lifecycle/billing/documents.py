"""An invoice as a document: PDF, CSV and JSON, in the language it was made for or another."""

import csv
import io
import json
from decimal import Decimal
from typing import Any, Final

from django.template.loader import render_to_string
from django.utils import translation

from lifecycle.billing import intervals, words
from lifecycle.models import Invoice

#: Stays that the PDF lists behind the lines; the rest is in the portal and in the CSV of each line.
STAYS_MOST: Final = 600
LANGUAGES: Final = ("en", "fr")


class _NoFetch(Exception):
    """A document refers to nothing outside of itself."""


def _refuse(url: str, *_args: Any, **_kwargs: Any) -> Any:
    raise _NoFetch(url)


def context(invoice: Invoice) -> dict[str, Any]:
    """What the document's template needs, in the language that is active."""
    lines = list(invoice.lines.order_by("position"))
    stays = [] if invoice.kind == Invoice.Kind.CREDIT_NOTE else intervals.of_invoice(invoice, STAYS_MOST)
    return {
        "invoice": invoice,
        "zone": invoice.zone,
        "rows": [
            {
                "line": line,
                "title": words.title(line),
                "detail": words.detail(line),
                "quantity": words.quantity(line),
                "rate": words.rate(line),
            }
            for line in lines
        ],
        "stays": stays[:STAYS_MOST],
        "more_stays": len(stays) > STAYS_MOST,
        "language": translation.get_language(),
    }


def html(invoice: Invoice, language: str = "") -> str:
    """The document as HTML: what the PDF is made of."""
    with translation.override(_language(invoice, language)):
        return render_to_string("billing/document.html", context(invoice))


def pdf(invoice: Invoice, language: str = "") -> bytes:
    """The document as PDF."""
    # Imported here: it loads Pango, which no other page needs.
    from weasyprint import HTML

    return HTML(string=html(invoice, language), url_fetcher=_refuse).write_pdf()  # type: ignore[no-any-return]


def as_csv(invoice: Invoice, language: str = "") -> str:
    """One row a line, then the sums; numbers in the notation of machines, titles in the reader's language."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(_COLUMNS)
    with translation.override(_language(invoice, language)):
        for line in invoice.lines.order_by("position").iterator(chunk_size=500):
            vm, image = ("", line.name) if line.image_id else (line.name, "")
            words_of = [_safe(vm), words.title(line), line.sort, line.item, line.kind, line.zone]
            numbers = [line.version, line.quantity, f"{line.rate:f}", f"{line.amount:f}"]
            table.writerow([line.position, *words_of, *numbers, invoice.currency, line.reference, _safe(image)])
    for name in ("net", "tax", "total"):
        amount = f"{getattr(invoice, name):f}"
        table.writerow(["", "", name, *[""] * 7, amount, invoice.currency, "", ""])
    return out.getvalue()


_COLUMNS: Final = (
    *("position", "vm", "title", "sort", "item", "kind", "zone", "price_list"),
    *("unit_seconds", "rate_per_unit_second", "amount", "currency", "reference", "image"),
)


def _safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def as_json(invoice: Invoice) -> str:
    """The invoice with its lines, amounts as text."""
    head = {name: getattr(invoice, name) for name in _HEAD}
    lines = [{name: getattr(line, name) for name in _LINE} for line in invoice.lines.order_by("position")]
    return json.dumps({**head, "lines": lines}, default=_plain, ensure_ascii=False, indent=1)


_HEAD: Final = (
    *("number", "kind", "status", "month", "period_start", "period_end", "time_zone", "currency", "seller", "customer"),
    *("net", "tax_percent", "reverse_charge", "tax", "total", "reason", "issued_at", "due_at"),
)
_LINE: Final = (
    *("position", "sort", "name", "item", "kind", "zone", "version", "quantity", "rate", "amount", "reference"),
)


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def file_name(invoice: Invoice, ending: str) -> str:
    """How a download is called."""
    return f"{invoice.number or f'draft-{invoice.project.slug}-{invoice.month}'}.{ending}"


def _language(invoice: Invoice, wanted: str) -> str:
    return wanted if wanted in LANGUAGES else invoice.language
