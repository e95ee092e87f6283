"""The messages of TEN: inbound, outbound, and without secrets.

`inbox`, `outbox` and `downstream` need TEN; the others do not, so nothing is
imported here.
"""
