"""What surrounds the actors in a process: the runtime, configuration, transports, wire formats, command line."""
