//! All pictures of a run in one, row by row, as diffusers' `make_image_grid` puts them.

use turbo_cli::{Error, Result};

/// Pictures of one size, gathered until the last is there, since a PNG starts with its height.
pub(crate) struct Grid {
    columns: usize,
    height: u32,
    width: u32,
    pictures: Vec<Vec<u8>>,
}

/// A picture of all pictures: RGB, row by row.
pub(crate) struct Sheet {
    pub(crate) height: u32,
    pub(crate) width: u32,
    pub(crate) pixels: Vec<u8>,
}

impl Grid {
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            columns,
            height: 0,
            width: 0,
            pictures: Vec::new(),
        }
    }

    /// Checks a frame's size, before its pictures are read.
    ///
    /// # Errors
    /// The size is another than that of the pictures before.
    pub(crate) fn expect(&mut self, (height, width): (u32, u32)) -> Result<()> {
        if self.pictures.is_empty() {
            (self.height, self.width) = (height, width);
        }
        if (self.height, self.width) == (height, width) {
            return Ok(());
        }
        Err(Error::new(format_args!(
            "--grid: expected a picture of {}x{} like those before, found {width}x{height}; draw \
             all in one size",
            self.width, self.height
        )))
    }

    /// Takes the next picture, of the size that was expected.
    pub(crate) fn push(&mut self, pixels: &[u8]) {
        self.pictures.push(pixels.to_vec());
    }

    /// The pictures side by side; places that are left over are white. None without a picture.
    ///
    /// # Errors
    /// The sheet has more than `max_side` pixels on a side.
    pub(crate) fn sheet(&self, max_side: u32) -> Result<Option<Sheet>> {
        if self.pictures.is_empty() {
            return Ok(None);
        }
        let columns = self.columns.min(self.pictures.len());
        let rows = self.pictures.len().div_ceil(columns);
        let side = |count: usize, each: u32| {
            let side = u64::from(each).saturating_mul(count as u64);
            u32::try_from(side).ok().filter(|&n| n <= max_side)
        };
        let (Some(height), Some(width)) = (side(rows, self.height), side(columns, self.width))
        else {
            return Err(Error::new(format_args!(
                "--grid: expected at most {max_side} pixels a side, found {columns} x {rows} \
                 pictures of {}x{}; ask for another number of columns, or raise --max-side",
                self.width, self.height
            )));
        };
        let mut pixels = vec![255; height as usize * width as usize * 3];
        let (line, sheet_line) = (self.width as usize * 3, width as usize * 3);
        for (place, picture) in self.pictures.iter().enumerate() {
            let (row, column) = (place / columns, place % columns);
            let top = row * self.height as usize;
            for (y, source) in picture.chunks_exact(line).enumerate() {
                let start = (top + y) * sheet_line + column * line;
                pixels[start..start + line].copy_from_slice(source);
            }
        }
        Ok(Some(Sheet {
            height,
            width,
            pixels,
        }))
    }
}
