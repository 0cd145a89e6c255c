"""What tests share."""

import pytest

# Assertions of tests that are here, not in a test module, explain themselves as well.
pytest.register_assert_rewrite("tests.support.destination_contract", "tests.support.consistency")
