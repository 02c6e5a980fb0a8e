"""The Compute API: a wire-compatible subset of Compute Engine's v1, over the same services as the pages.

A request's way: `http.dispatch` finds the `registry.Method`, `auth` the person behind the token, the method's
handler calls services and answers a resource as `schemas` describes it. docs/api.md is its table of endpoints.
"""
