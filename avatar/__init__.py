"""The running avatar: its state, its sessions, and its two outputs."""

from .avatar import Avatar as Avatar
from .supervisor import Plan as Plan
