//! Frames of safetensors on a byte stream: the format the tools speak.
