//! Euler ancestral steps and torch's CPU noise, number for number.
