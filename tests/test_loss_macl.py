"""MACL and Wg-MACL."""

from tests import golden_cases as golden

FILE = "macl_simdis_selfmade"


@golden.params(FILE, lambda args: "macl" in args)
def test_golden(case, args):
    golden.check(args, FILE, case, args)
