"""The running avatar: its state, its sessions, and its two outputs."""

from .avatar import Avatar
from .plan import Plan

__all__ = ["Avatar", "Plan"]
