"""Golden images, built on this machine from Debian's packages alone."""
