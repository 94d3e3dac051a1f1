"""Tests of the kinds of webhooks."""
