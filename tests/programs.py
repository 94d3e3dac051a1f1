"""Pieces of the programs that tests run in processes of their own."""

FAILS = """
import errno
def fails(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
"""
"""`fails(function, *arguments)`: the name of the error that a call ends with, or `done`."""
