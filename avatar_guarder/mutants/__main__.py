#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Holds each mutant to its rule, and with `--full` to all others."""

import sys

from . import check

found = check.judged_wrong(check.plan(full="--full" in sys.argv))
for name, rules in found.items():
    print(f"{name}: breaks {', '.join(sorted(rules)) or 'nothing'}")
print("no mutant is judged wrong" if not found else f"{len(found)} are wrong")
sys.exit(bool(found))
