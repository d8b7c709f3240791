"""What a server and its sites keep on disk to know one another: certificates, keys, invites and the roster."""
