"""The kernel: what a supervised, restartable, bounded and simulable actor system adds to Pykka.

It knows no domain type; nothing here imports from the rest of the project.
"""
