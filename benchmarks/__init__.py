"""What a call through Showcaller costs, as ratios to other ways measured in the same run."""
