#!/usr/bin/env python3
"""The reader of machine code, on listings written by hand."""
import argparse
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sass


def listing(*lines):
    """Lines as nvdisasm prints them; those that end in ':' are labels."""
    text, address = "\t.section\t.text.k\n.text.k:\n", 0
    for line in lines:
        if line.endswith(":"):
            text += line + "\n"
        else:
            text += f"        /*{address:04x}*/              {line} ;\n"
            address += 16
    return text + ".L_x_99:\n"


MMA = "HMMA.16816.F32 R4, R8, R12, R4"
ADD = "IADD3 R1, R1, 0x1, RZ"


class Reader(unittest.TestCase):
    def check(self, expected, *lines):
        found = sass.figures(listing(*lines))
        self.assertEqual((found.tensor, found.instructions, found.run, found.spills), expected)

    def test_a_loop_is_what_a_backward_branch_spans(self):
        self.check((2, 5, 3, 0), ADD, ".L_x_1:", ADD, MMA, MMA, ADD, "@P0 BRA `(.L_x_1)", ADD, "EXIT")

    def test_the_longest_run_goes_around_the_end(self):
        self.check((1, 6, 5, 0), ".L_x_1:", ADD, ADD, MMA, ADD, ADD, "@!P1 BRA `(.L_x_1)")

    def test_the_innermost_loop_with_most_tensor_instructions_counts(self):
        self.check((3, 4, 1, 0), ".L_x_1:", ADD, ".L_x_2:", MMA, "@P0 BRA `(.L_x_2)",
                   ".L_x_3:", "IMMA.16832.S8.S8 R4, R8.ROW, R12.COL, R4", MMA, MMA,
                   "@P0 BRA `(.L_x_3)", ADD, ADD, "@P1 BRA `(.L_x_1)")

    def test_a_loop_inside_without_tensor_instructions_belongs_to_it(self):
        self.check((1, 4, 3, 0), ".L_x_1:", MMA, ".L_x_2:", ADD, "@P0 BRA `(.L_x_2)", "@P1 BRA `(.L_x_1)")

    def test_of_several_ways_back_the_longest_counts(self):
        self.check((2, 4, 1, 0), ".L_x_1:", MMA, "@P0 BRA `(.L_x_1)", MMA, "@P1 BRA `(.L_x_1)")

    def test_loads_and_stores_of_local_memory_are_spills_wherever_they_are(self):
        self.check((1, 2, 1, 2), "STL.64 [R1+0x8], R2", "LDL R3, [R1]", ".L_x_1:", MMA,
                   "@P0 BRA `(.L_x_1)", "LDG.E R3, desc[UR4][R2.64]")

    def test_without_a_loop_that_has_them_the_stretch_between_tensor_instructions_counts(self):
        self.check((3, 5, 2, 0), ADD, ADD, ADD, MMA, MMA, ADD, ADD, ".L_x_1:", ADD.replace("IADD3", "IMMA"),
                   ADD, "EXIT", ".L_x_2:", "BRA `(.L_x_2)")
        self.check((2, 3, 1, 0), MMA, "@P0 BRA `(.L_x_1)", MMA, ".L_x_1:", "EXIT")

    def test_code_without_tensor_instructions_has_no_figures(self):
        self.assertIsNone(sass.figures(listing(".L_x_1:", ADD, "@P0 BRA `(.L_x_1)", "EXIT")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--build")
    unittest.main(argv=[sys.argv[0], *parser.parse_known_args()[1]])
