"""What clients minimise, one file each."""
