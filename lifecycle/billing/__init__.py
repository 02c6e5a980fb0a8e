"""Money: rating, bills, invoices as documents, SLA. Derived from metering and dated prices, and never incremented."""
