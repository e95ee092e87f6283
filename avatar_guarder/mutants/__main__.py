"""Holds each mutant to its rule, and with `--full` to all others."""

import sys

from . import check

found = check.wrong(check.hold(check.plan(full="--full" in sys.argv)))
for name, rules in found.items():
    print(f"{name}: breaks {', '.join(sorted(rules)) or 'nothing'}")
print("no mutant is judged wrong" if not found else f"{len(found)} are wrong")
sys.exit(bool(found))
