"""The messages of TEN: what comes in, what goes out, and what it may show.

`inbox`, `outbox` and `downstream` need TEN; the others do not, so nothing is
imported here.
"""
