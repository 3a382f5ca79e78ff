"""Cases with which the sweep found a fault, so that a sample has them too."""
import numpy as np

from cases import Case, regression
from elementwise import OWN


def whole(*numbers):
    return np.array(numbers, np.int64)


@regression("Slice")
def backwards_over_an_empty_axis():
    x = np.zeros([4, 0], np.float32)
    return Case([x, whole(-1), whole(-2**63 + 1), whole(1), whole(-1)], constant=(1, 2, 3, 4),
                fixed=(1, 2, 3, 4), free=True)


@regression("Reshape")
def to_six_sizes_that_the_run_knows():
    return Case([np.arange(1024, dtype=np.float32).reshape(16, 4, 8, 2), whole(0, 2, 2, -1, 2, 2)])


@regression("ReduceL1")
def of_no_axes_is_the_absolute_value():
    return Case([np.array([-2, 3], np.float32)], {"noop_with_empty_axes": 1})


@regression("Pow")
def of_a_whole_number_by_a_float_is_whole():
    x, y = np.meshgrid(np.arange(-7, 8), np.arange(0, 9))
    return Case([x.astype(np.int64), y.astype(np.float64)])


@regression("Erf", opset=13)
def of_a_whole_number_is_rounded_to_zero():
    return Case([np.arange(-9, 10, dtype=np.int32)], expected=OWN["Erf"])


@regression("Slice")
def backwards_to_the_far_end_is_nothing():
    return Case([np.arange(12, dtype=np.float32).reshape(4, 3), whole(2), whole(2**63 - 1),
                 whole(0), whole(-1)], constant=(1, 2, 3, 4))


def seven_tenths(**more):
    x, scales = np.arange(20, dtype=np.float32).reshape(1, 2, 10), np.array([1, 1, 0.7], np.float32)
    return Case([x, None, scales], {"coordinate_transformation_mode": "asymmetric"},
                constant=(1, 2), **more)


@regression("Resize", opset=19)
def by_a_float_below_its_fraction():
    return seven_tenths()


@regression("Resize", opset=19)
def of_a_free_size_by_a_float_below_its_fraction():
    return seven_tenths(fixed=(1, 2), free=True)
