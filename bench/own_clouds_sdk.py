"""A peer: the servers of several clouds without Atoll, by a loop over them with openstacksdk.

    python -m bench.own_clouds_sdk c1,c2,…

Prints how many servers there are; the time is taken from its start to that.
"""

import sys

import openstack


def main() -> None:
    """Ask each cloud by its entry of clouds.yaml."""
    count = 0
    for name in sys.argv[1].split(","):
        count += len(list(openstack.connect(cloud=name).compute.servers()))
    print(count, flush=True)


if __name__ == "__main__":
    main()
