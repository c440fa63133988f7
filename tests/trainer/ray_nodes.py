"""A Ray cluster of this machine: a head that runs nothing, and two nodes. Ends with its standard input.

    python -m tests.trainer.ray_nodes PORT

Prints `ready`; on each line that comes in it kills a node, prints `killed`, and adds another one.
"""

import sys
from typing import Any

from ray.cluster_utils import Cluster

NODE: dict[str, Any] = {
    "node_ip_address": "127.0.0.1",
    "object_store_memory": 100 * 2**20,
    "include_dashboard": False,
}


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(port: int) -> None:
    head = {**NODE, "num_cpus": 0, "ray_client_server_port": port}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, **NODE) for _ in range(2)]
    try:
        say("ready")
        for _ in sys.stdin:
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
            say("killed")
            nodes.append(cluster.add_node(num_cpus=1, **NODE))
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(int(sys.argv[1]))
