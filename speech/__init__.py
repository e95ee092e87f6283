"""What has been said and what goes next: pure, without I/O or a clock."""
