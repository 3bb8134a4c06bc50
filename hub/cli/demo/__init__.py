"""`hub demo`: the main business case against simulators, told as a story and checked against ground truth."""
