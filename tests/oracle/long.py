"""Cases of a length that random ones do not reach."""
import numpy as np

from cases import Case, regression


def long_line(*shape, dtype, distinct):
    generator = np.random.default_rng(7)
    return generator.integers(-distinct, distinct, shape).astype(dtype)


@regression("TopK")
def of_a_line_of_many_segments_with_ties():
    x = long_line(2, 70000, dtype=np.float32, distinct=3000)
    x[0, 5], x[1, 69999] = np.inf, -np.inf
    return Case([x, np.array([90])], {"axis": 1}, outputs=2, constant=(1,), fixed=(0, 1))


@regression("TopK")
def smallest_of_long_columns():
    x = long_line(9000, 2, dtype=np.int64, distinct=1000)
    return Case([x, np.array([300])], {"axis": 0, "largest": 0}, outputs=2, constant=(1,),
                fixed=(0, 1))
