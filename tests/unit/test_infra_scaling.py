import pytest

from infra import scaling
from model_build.manifest import InstanceRange


@pytest.mark.parametrize(("least", "most", "expected"), [(1, 1, False), (2, 2, False), (1, 2, True)])
def test_only_a_range_scales(least, most, expected):
    assert scaling.scales(InstanceRange(min=least, max=most)) is expected


def test_a_new_configuration_starts_with_the_minimum():
    assert scaling.initial_count(InstanceRange(min=2, max=12)) == 2
