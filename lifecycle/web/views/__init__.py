"""Views by subject. Each fetches through `lifecycle.web.access`, acts by one service call, redirects or renders."""
