"""What every step has: parameters, a workspace, progress, worker processes."""
