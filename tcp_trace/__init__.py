"""Tells a team, in Slack, when their hosts cannot connect to something, and why."""

__version__ = "0.1.0"
