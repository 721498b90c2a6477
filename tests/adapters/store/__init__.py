"""Tests of the state database; `contract` holds for every back end."""

import pytest

pytest.register_assert_rewrite("tests.adapters.store.contract")
