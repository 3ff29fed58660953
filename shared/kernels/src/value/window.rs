//! How a convolution moves over its input.

/// Size and movement of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side of the square.
    pub kernel: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Zeros above, below, left and right.
    pub padding: [usize; 4],
}

impl Window {
    /// Output as large as the input, for an odd kernel.
    pub const fn same(kernel: usize) -> Self {
        Self {
            kernel,
            stride: 1,
            padding: [kernel / 2; 4],
        }
    }

    /// Size of the result for an input of `height` and `width`.
    pub fn output(&self, height: usize, width: usize) -> [usize; 2] {
        let [top, bottom, left, right] = self.padding;
        [
            (height + top + bottom - self.kernel) / self.stride + 1,
            (width + left + right - self.kernel) / self.stride + 1,
        ]
    }
}
