//! CPU kernels of the SDXL networks: matrix product, convolution, norms, attention.
