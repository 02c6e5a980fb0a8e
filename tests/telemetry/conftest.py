"""The guests of the repair tests, for what they say."""

from tests.repair.conftest import conn, make_guest, worker

__all__ = ["conn", "make_guest", "worker"]
