"""The second factor: its secrets rest encrypted in the database, by a key made of the installation's SECRET_KEY."""

import base64
import hashlib

from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet
from django.conf import settings
from django.utils.encoding import force_bytes


class MFAAdapter(DefaultMFAAdapter):
    """A copy of the database alone holds no usable secret of an authenticator app and no recovery code's seed."""

    def encrypt(self, text: str) -> str:
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _fernet().decrypt(encrypted_text.encode()).decode()


def _fernet() -> Fernet:
    key = hashlib.blake2b(force_bytes(settings.SECRET_KEY), digest_size=32, person=b"vmportal mfa").digest()
    return Fernet(base64.urlsafe_b64encode(key))
