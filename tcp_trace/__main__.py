"""`python3 -m tcp_trace` is `tcp-trace`."""

from tcp_trace.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
