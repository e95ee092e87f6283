"""The running avatar: its state, its sessions, and its two outputs."""

from .avatar import Avatar as Avatar
from .plan import Plan as Plan
