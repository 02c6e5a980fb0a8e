"""compute.projects: the project itself."""

from lifecycle.api.call import Call
from lifecycle.api.registry import method
from lifecycle.api.resources.catalog import project_of, quotas_of
from lifecycle.api.schemas import Project
from lifecycle.services import quotas


@method("projects.get", "GET", "projects/{project}", Project)
def get(call: Call) -> Project:
    """The project with its quotas."""
    limits = quotas_of(quotas.limits_of(call.project), quotas.usage_of(call.project))
    return project_of(call.project, limits, call.links)
