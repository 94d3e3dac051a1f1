"""Alerts a team, in Slack, when their hosts cannot connect to something, and says why."""

__version__ = "0.1.0"
