"""What is asked for, before it is begun: which runs, how long, how much memory and disk."""
