"""Manage virtual machines on a cluster of Linux hosts over SSH, without any agent."""

__version__ = "0.1.0"
