"""The real service against real connects, on the kernel that runs the tests."""
