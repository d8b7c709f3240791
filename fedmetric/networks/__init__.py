"""Networks of several branches over one encoder, one file each."""
