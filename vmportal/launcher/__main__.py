"""Runs `./portal`'s command line."""

import sys

from vmportal.launcher.cli import main

sys.exit(main(sys.argv[1:]))
