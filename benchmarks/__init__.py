"""What the README's numbers come from, against peers in the same run. Imported by nothing."""
