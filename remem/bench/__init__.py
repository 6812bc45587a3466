"""What it costs: time and memory of each thing that the experiments are made of."""
