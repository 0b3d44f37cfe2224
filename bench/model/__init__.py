"""What making a model costs: training, conversion, and int8's gate."""
