"""The running avatar: its state, its sessions, and its two outputs."""

from .avatar import Avatar
from .plan import Plan
from .state import STOP_BUDGET

__all__ = ["STOP_BUDGET", "Avatar", "Plan"]
