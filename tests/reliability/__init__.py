"""Faults that go through all of the service, injected for real; what they cost is recorded."""
