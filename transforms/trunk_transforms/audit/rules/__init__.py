"""The audit's rules, a family to a module: importing this package registers them all."""

from trunk_transforms.audit.rules import allowlist  # noqa: F401, I001 - in the order they are shown
from trunk_transforms.audit.rules import provider  # noqa: F401 - in the order they are shown
from trunk_transforms.audit.rules import host  # noqa: F401 - in the order they are shown
from trunk_transforms.audit.rules import number  # noqa: F401 - in the order they are shown
from trunk_transforms.audit.rules import country  # noqa: F401 - in the order they are shown
from trunk_transforms.audit.rules import duplicate  # noqa: F401 - in the order they are shown
from trunk_transforms.audit.rules import exposure  # noqa: F401 - in the order they are shown
from trunk_transforms.audit.rules import value  # noqa: F401 - in the order they are shown
