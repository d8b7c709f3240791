"""What carries messages between server and clients on one machine."""
