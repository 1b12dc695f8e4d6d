"""A Ray cluster of two processors on this machine, for tests: prints its address and lives until its input ends."""

import sys

import ray


def start(folder: str, *, tries: int = 3) -> str:
    """Its address. Ray gives a node thirty seconds to start, which a busy machine may miss."""
    try:
        found = ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, _temp_dir=folder, log_to_driver=False)
    except Exception:
        ray.shutdown()
        if tries == 1:
            raise
        return start(folder, tries=tries - 1)
    return found.address_info["gcs_address"]


if __name__ == "__main__":
    print(start(sys.argv[1]), flush=True)
    sys.stdin.read()
    ray.shutdown()
