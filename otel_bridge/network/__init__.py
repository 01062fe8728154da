"""What the environment says of the network, read in one place for HTTP and gRPC: proxies and authorities."""
