"""The seed: a NoCloud ISO 9660 image, made in memory."""

from io import BytesIO

import pycdlib


def build_iso(files: dict[str, bytes]) -> bytes:
    """An ISO labelled `cidata` with `files` at its root (Rock Ridge and Joliet names)."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident="cidata", joliet=3, rock_ridge="1.09")
    for number, (name, content) in enumerate(sorted(files.items())):
        iso.add_fp(BytesIO(content), len(content), f"/F{number}.;1", rr_name=name, joliet_path=f"/{name}")
    out = BytesIO()
    iso.write_fp(out)
    iso.close()
    return out.getvalue()
