//! What weights do to hidden states.

use std::ops::Range;

/// How weights are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Weighting {
    /// As `ComfyUI`: a row is moved away from the empty prompt's row at its place, or towards it.
    Blend,
    /// As AUTOMATIC1111: a row is multiplied, then the chunk is brought back to its mean.
    Scale,
}

/// One encoder's columns in a chunk's hidden states, which hold both encoders' side by side.
#[derive(Debug)]
pub struct Rows<'a> {
    /// `[tokens, width]`, both encoders' side by side.
    pub values: &'a mut [f32],
    /// Values in a row.
    pub width: usize,
    /// Which of them are this encoder's.
    pub columns: Range<usize>,
}

impl Rows<'_> {
    fn each(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let columns = self.columns.clone();
        let rows = self.values.chunks_exact_mut(self.width);
        rows.map(move |row| &mut row[columns.clone()])
    }

    /// Sum of all values, in f64.
    fn sum(&mut self) -> f64 {
        self.each().flatten().map(|&mut x| f64::from(x)).sum()
    }
}

impl Weighting {
    /// Its name as a flag's value and in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blend => "blend",
            Self::Scale => "scale",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Blend, Self::Scale]
            .into_iter()
            .find(|weighting| weighting.name() == name)
    }

    /// Applies the weights of a chunk's tokens, of which the first stands in row 1, behind start of text. The rows
    /// around them have weight 1. `empty` has an empty chunk's hidden states, in the same form as `rows`.
    ///
    /// Weights that are all 1 change nothing.
    pub fn apply(self, rows: &mut Rows<'_>, empty: &[f32], weights: &[f32]) {
        #[allow(
            clippy::float_cmp,
            reason = "1 is what text without brackets has, exactly"
        )]
        let weighted = |&(_, w): &(usize, f32)| w != 1.0;
        let weights = weights.iter().copied().enumerate();
        let weights: Vec<_> = weights.map(|(n, w)| (n + 1, w)).filter(weighted).collect();
        if weights.is_empty() {
            return;
        }
        let (width, columns) = (rows.width, rows.columns.clone());
        let place = |row: usize| row * width + columns.start..row * width + columns.end;
        match self {
            Self::Blend => {
                for (row, weight) in weights {
                    let values = rows.values[place(row)].iter_mut();
                    for (x, empty) in values.zip(&empty[place(row)]) {
                        *x = empty + (*x - empty) * weight;
                    }
                }
            }
            Self::Scale => {
                let before = rows.sum();
                for (row, weight) in weights {
                    for x in &mut rows.values[place(row)] {
                        *x *= weight;
                    }
                }
                let back = (before / rows.sum()) as f32;
                for x in rows.each().flatten() {
                    *x *= back;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three rows of two values each from both encoders; the weights are for the second encoder.
    fn applied(weighting: Weighting, weights: &[f32]) -> Vec<f32> {
        let mut values = [1., 2., 3., 4., 1., 2., 5., 6., 1., 2., 7., 8.];
        let empty = [0., 0., 1., 1., 0., 0., 1., 2., 0., 0., 1., 3.];
        let mut rows = Rows {
            values: &mut values,
            width: 4,
            columns: 2..4,
        };
        weighting.apply(&mut rows, &empty, weights);
        assert!(
            values.chunks(4).all(|row| row[..2] == [1., 2.]),
            "the first encoder's"
        );
        values.chunks(4).flat_map(|row| row[2..].to_vec()).collect()
    }

    #[test]
    fn blend_moves_a_row_from_the_empty_prompts() {
        assert_eq!(applied(Weighting::Blend, &[2.0]), [3., 4., 9., 10., 7., 8.]);
        assert_eq!(
            applied(Weighting::Blend, &[1.0, 0.0]),
            [3., 4., 5., 6., 1., 3.]
        );
        assert_eq!(
            applied(Weighting::Blend, &[-1.0]),
            [3., 4., -3., -2., 7., 8.]
        );
    }

    #[test]
    fn scale_keeps_the_mean() {
        // 33 before, 44 after.
        let expected = [3., 4., 10., 12., 7., 8.].map(|x: f32| x * 0.75);
        assert_eq!(applied(Weighting::Scale, &[2.0]), expected);
    }

    #[test]
    fn weights_of_one_change_nothing() {
        for weighting in [Weighting::Blend, Weighting::Scale] {
            assert_eq!(applied(weighting, &[1.0, 1.0]), [3., 4., 5., 6., 7., 8.]);
            assert_eq!(applied(weighting, &[]), [3., 4., 5., 6., 7., 8.]);
        }
    }
}
