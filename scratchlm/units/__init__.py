"""Who does which piece of work? Pure functions over files, run in small processes here or on a cluster, each finished or not there."""
