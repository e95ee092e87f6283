"""Sets of bytes as sorted lists of (begin, end) that do not touch."""

Range = tuple[int, int]


def add(ranges: list[Range], begin: int, end: int) -> None:
    """Add a range, joined with those that it touches."""
    rest = []
    for one in ranges:
        if one[1] < begin or one[0] > end:
            rest.append(one)
        else:
            begin, end = min(begin, one[0]), max(end, one[1])
    ranges[:] = sorted([*rest, (begin, end)])


def overlap(ranges: list[Range], begin: int, end: int) -> list[Range]:
    """The parts of a range that are in the set."""
    return [
        (max(begin, one[0]), min(end, one[1]))
        for one in ranges
        if one[0] < end and begin < one[1]
    ]


def missing(ranges: list[Range], size: int) -> list[Range]:
    """The parts of (0, size) that are not in the set."""
    gaps, at = [], 0
    for begin, end in ranges:
        if begin > at:
            gaps.append((at, min(begin, size)))
        at = max(at, end)
    if at < size:
        gaps.append((at, size))
    return gaps
