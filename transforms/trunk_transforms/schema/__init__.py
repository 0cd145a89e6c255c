"""The declaration of the stored tables, and of the reports, views and macros that are derived from them."""

from trunk_transforms.schema.findings import AUDIT_TABLES as AUDIT_TABLES
from trunk_transforms.schema.resources import *  # noqa: F403
from trunk_transforms.schema.tables import *  # noqa: F403
