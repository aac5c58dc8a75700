"""What the clients of Python share: the route of each argument, and one line a cell."""

import ssl
import sys

LARGE = bytes((i * 31 ^ i >> 7) & 255 for i in range(1 << 20))

# How long an answer may take, in seconds. Generous: the machine may be busy.
PATIENCE = 15


def check(cell, good, why=""):
    print(f"pass {cell}" if good else f"fail {cell}: {why}", flush=True)


def trust(url):
    """The test's authority, where the URL asks for TLS."""
    return ssl.create_default_context(cafile=sys.argv[1]) if url.startswith("wss:") else None


async def visit(version, cells):
    """Runs `cells` for each `NAME=URL` of the command line, behind the file of the authority."""
    print(f"version {version}")
    for route in sys.argv[2:]:
        name, url = route.split("=", 1)
        print(f"route {name}", flush=True)
        try:
            await cells(url, name == "begins")
        except Exception as error:
            print(f"error {type(error).__name__}: {error}", flush=True)
