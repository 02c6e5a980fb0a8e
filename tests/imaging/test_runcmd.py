"""The tiny guest's reading of runcmd: the script it makes of cloud-config."""

import subprocess

import pytest

from lifecycle.imaging.build import SCRIPTS

READER = SCRIPTS / "tiny" / "root" / "usr" / "share" / "runcmd.awk"


def script_of(cloud_config: str) -> str:
    done = subprocess.run(["awk", "-f", str(READER)], input=cloud_config, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    ("item", "script"),
    [
        ("echo plain", "echo plain\n"),
        ('"echo \\"quoted\\" C:\\\\x"', 'echo "quoted" C:\\x\n'),
        ("'echo \"it''s\"'", 'echo "it\'s"\n'),
        ("[ls, -l, /]", "'ls' '-l' '/' \n"),
        ("[sh, -c, \"echo 'a, b'\"]", "'sh' '-c' 'echo '\\''a, b'\\''' \n"),
        ("|\n    if true; then\n      echo deep\n    fi", "if true; then\n  echo deep\nfi\n"),
    ],
)
def test_an_item_becomes_a_line_of_shell(item: str, script: str) -> None:
    assert script_of(f"#cloud-config\nruncmd:\n  - {item}\n") == script


def test_items_keep_their_order_and_other_keys_are_left_out() -> None:
    text = "#cloud-config\nbootcmd:\n  - early\nruncmd:\n- one\n\n# a remark\n- two\nusers:\n  - name: x\n"
    assert script_of(text) == "one\ntwo\n"


def test_no_runcmd_makes_no_script() -> None:
    assert script_of("#cloud-config\n{}\n") == ""
