"""What this host says of processes, users, cgroups and names."""
