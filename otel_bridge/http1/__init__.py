"""HTTP/1.1 under httpx's interface: what both the source and HTTP destinations are asked by."""
