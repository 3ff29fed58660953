//! Finds, maps and names the weights of a checkpoint.
