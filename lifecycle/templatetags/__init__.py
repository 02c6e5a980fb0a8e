"""Template tags: how things of the domain are said to people."""
