"""Algorithm and bus bandwidth: the definitions of nccl-tests."""

import importlib.util
from types import ModuleType

import pytest

from bakehouse import layout
from bakehouse.commands import bench


@pytest.fixture(scope="module")
def bandwidth() -> ModuleType:
    path = layout.SHARED / "collectives" / "bandwidth.py"
    spec = importlib.util.spec_from_file_location("bandwidth", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("operation", "ranks", "factor"),
    [
        ("all_reduce", 2, 1.0),
        ("all_reduce", 8, 1.75),
        ("all_gather", 8, 0.875),
        ("reduce_scatter", 8, 0.875),
        ("all_to_all", 8, 0.875),
        ("all_to_all", 2, 0.5),
        ("broadcast", 8, 1.0),
        ("sendrecv", 8, 1.0),
    ],
)
def test_factors_are_those_of_nccl_tests(
    bandwidth: ModuleType, operation: str, ranks: int, factor: float
) -> None:
    """https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md"""
    assert bandwidth.bus_factor(operation, ranks) == pytest.approx(factor)


def test_a_published_row_comes_out(bandwidth: ModuleType) -> None:
    """All-reduce of 8 GPUs, 16 GiB: 483 GB/s of bus bandwidth are 276 of algorithm bandwidth."""
    seconds = 17179869184 / 276e9
    algorithm, bus = bandwidth.bandwidths("all_reduce", 17179869184, seconds, 8)
    assert algorithm == pytest.approx(276)
    assert bus == pytest.approx(483)


def test_an_unknown_operation_is_an_error(bandwidth: ModuleType) -> None:
    with pytest.raises(ValueError, match="no operation reduce"):
        bandwidth.bus_factor("reduce", 2)


@pytest.mark.parametrize(
    ("operation", "size", "ranks", "count"),
    [
        ("all_reduce", 8, 4, 2),
        ("all_reduce", 1, 4, 1),
        ("all_gather", 8, 4, 4),
        ("all_gather", 64, 4, 16),
        ("reduce_scatter", 64, 3, 15),
        ("all_to_all", 1024, 8, 256),
        ("sendrecv", 64, 3, 16),
    ],
)
def test_a_buffer_that_is_split_has_a_part_for_each_rank(
    bandwidth: ModuleType, operation: str, size: int, ranks: int, count: int
) -> None:
    assert bandwidth.elements(operation, size, ranks) == count


def test_sizes_double_up_to_the_largest(bandwidth: ModuleType) -> None:
    assert bandwidth.sizes(8, 64) == [8, 16, 32, 64]
    assert bandwidth.sizes(8, 63) == [8, 16, 32]
    assert bandwidth.sizes(8, 8) == [8]
    for least, most in ((9, 8), (0, 8)):
        with pytest.raises(ValueError, match="no size"):
            bandwidth.sizes(least, most)


def test_the_command_offers_the_operations_that_the_program_knows(bandwidth: ModuleType) -> None:
    assert bench.OPERATIONS == bandwidth.OPERATIONS
