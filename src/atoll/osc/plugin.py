"""What python-openstackclient looks for in a plugin; the names are its own."""

import argparse
from typing import Any

from atoll.osc.client import Client

DEFAULT_API_VERSION = "1"
API_VERSION_OPTION = "os_atoll_api_version"
API_NAME = "atoll"
API_VERSIONS = {"1": "atoll.osc.client.Client"}


def make_client(instance: Any) -> Client:
    """A client of Atoll's own API for a client manager."""
    return Client(instance.session, region_name=instance.region_name, interface=instance.interface)


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the one option that plugins have."""
    parser.add_argument(
        "--os-atoll-api-version",
        metavar="<atoll-api-version>",
        default=DEFAULT_API_VERSION,
        help=f"Version of Atoll's own API (default: {DEFAULT_API_VERSION})",
    )
    return parser
