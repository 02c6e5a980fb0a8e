"""The only writers. One function is one transaction; refusals are `DomainError`s and change nothing."""
