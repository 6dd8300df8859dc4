"""What must hold while a simulation runs, one noun a file; the Inspector watches for all of them."""
