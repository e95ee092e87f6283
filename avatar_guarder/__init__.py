"""A conformance suite for TEN avatar extensions; see README.md."""
