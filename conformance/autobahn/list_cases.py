"""Prints the ids of the Autobahn cases that the given patterns name, one a line (Python 2.7).

usage: list_cases.py PATTERN...
"""

from __future__ import print_function

import sys

from autobahntestsuite import case
from autobahntestsuite.caseset import CaseSet

suite = CaseSet(case.CaseSetname, case.CaseBasename, case.Cases, case.CaseCategories, case.CaseSubCategories)
for case_id in suite.parseSpecCases({"cases": sys.argv[1:], "exclude-cases": []}):
    print(case_id)
