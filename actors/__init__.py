"""The actor system: kernel, policies, and the actors that route and carry out model calls."""
