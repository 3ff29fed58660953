//! A second input beside the first: `--init`, `--join`.

use crate::{Fault, Place, Source};
use turbo_cli::{Appended, Error, Result};

/// Two sources in step: item k of the one belongs to item k of the other.
///
/// A side with one item is repeated for all items of the other. Any other difference in length is an error that says
/// where the shorter one ends. Without a second source every item of the first stands alone.
pub struct Beside<A: Source, B: Source> {
    first: Side<A>,
    second: Option<Side<B>>,
}

/// One of the two, and its first item for as long as that may be the only one.
struct Side<S: Source> {
    source: S,
    /// What messages call an item, such as "picture".
    item: &'static str,
    /// Items given so far.
    count: u64,
    ended: bool,
    only: Only<S>,
}

/// What is known of a side's first item.
enum Only<S: Source> {
    /// Nothing: there is none, or there are more.
    Nothing,
    Head(S::Head),
    Whole(S::Head, S::Body),
    /// It failed, and whatever it is repeated for fails as well.
    Failed(String),
}

impl<S: Source<Head: Clone, Body: Clone>> Side<S> {
    fn new(source: S, item: &'static str) -> Self {
        Self {
            source,
            item,
            count: 0,
            ended: false,
            only: Only::Nothing,
        }
    }

    /// Takes the next item of the source itself, and says whether there is one.
    fn advance(&mut self, output: &Appended) -> Result<Option<S::Head>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let next = self.source.next(output);
        if let Ok(None) = next {
            self.ended = true;
            return next;
        }
        if !matches!(next, Err(Fault::Run(_))) {
            self.count += 1;
        }
        self.only = match (&next, self.count) {
            (Ok(Some(head)), 1) => Only::Head(head.clone()),
            (Err(Fault::Item(error)), 1) => Only::Failed(error.to_string()),
            _ => Only::Nothing,
        };
        next
    }

    /// The only item, again.
    fn again(&self) -> Result<S::Head, Fault> {
        match &self.only {
            Only::Head(head) | Only::Whole(head, _) => Ok(head.clone()),
            Only::Failed(text) => Err(Fault::Item(Error::new(text))),
            Only::Nothing => Err(Fault::Run(Error::new("no item is there to repeat"))),
        }
    }

    /// Called when this side has ended and `other` has an item: says whether this side's only item is repeated for it. If
    /// this side is empty and `other`'s item is its only one, that item is repeated no times.
    ///
    /// # Errors
    /// Neither side has just one item.
    fn is_repeated<T>(&self, other: &mut Side<T>, output: &Appended) -> Result<bool, Fault>
    where
        T: Source<Head: Clone, Body: Clone>,
    {
        let end = match (self.count, other.count) {
            (1, _) => return Ok(true),
            (0, 1) => matches!(other.advance(output), Ok(None)),
            _ => false,
        };
        if end {
            return Ok(false);
        }
        Err(Fault::Run(Error::new(format_args!(
            "{} {}: expected a {} beside it, found the end after {}; give as many of both, or one of either",
            other.item, self.count, self.item, self.count
        ))))
    }

    fn body(&mut self) -> Result<S::Body, Fault> {
        if let Only::Whole(_, body) = &self.only {
            return Ok(body.clone());
        }
        let body = self.source.body()?;
        if let Only::Head(head) = &self.only {
            self.only = Only::Whole(head.clone(), body.clone());
        }
        Ok(body)
    }

    /// Reads the body of an only item that nobody asked for yet, before the source goes on.
    fn keep(&mut self) -> Result<(), Fault> {
        if matches!(self.only, Only::Head(_)) {
            self.body()?;
        }
        Ok(())
    }
}

impl<A, B> Beside<A, B>
where
    A: Source<Head: Clone, Body: Clone>,
    B: Source<Head: Clone, Body: Clone>,
{
    /// Pairs two sources; the names are what messages call an item of each.
    pub fn new((first, item): (A, &'static str), second: Option<(B, &'static str)>) -> Self {
        Self {
            first: Side::new(first, item),
            second: second.map(|(source, item)| Side::new(source, item)),
        }
    }
}

impl<A, B> Source for Beside<A, B>
where
    A: Source<Head: Clone, Body: Clone>,
    B: Source<Head: Clone, Body: Clone>,
{
    type Head = (A::Head, Option<B::Head>);
    type Body = (A::Body, Option<B::Body>);

    fn next(&mut self, output: &Appended) -> Result<Option<Self::Head>, Fault> {
        let Self { first, second } = self;
        let Some(second) = second else {
            return Ok(first.advance(output)?.map(|head| (head, None)));
        };
        // The body of an item that may be the only one has to be taken before its source is asked for another.
        first.keep()?;
        second.keep()?;
        // Both are asked before either fails, so that they stay in step.
        let (one, two) = (first.advance(output), second.advance(output));
        match (one, two) {
            (Err(Fault::Run(error)), _) | (_, Err(Fault::Run(error))) => Err(Fault::Run(error)),
            (Ok(None), Ok(None)) => Ok(None),
            (Ok(None), two) => {
                if first.is_repeated(second, output)? {
                    return Ok(Some((first.again()?, two?)));
                }
                Ok(None)
            }
            (one, Ok(None)) => {
                if second.is_repeated(first, output)? {
                    let other = second.again()?;
                    return Ok(one?.map(|head| (head, Some(other))));
                }
                Ok(None)
            }
            (one, two) => {
                let (one, two) = (one?, two?);
                Ok(one.map(|head| (head, two)))
            }
        }
    }

    fn body(&mut self) -> Result<Self::Body, Fault> {
        let second = self.second.as_mut().map(Side::body).transpose();
        Ok((self.first.body()?, second?))
    }

    fn place(&self) -> Place {
        self.first.source.place()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A source of numbers, whose bodies are ten times as large. Negative ones fail.
    struct Numbers(VecDeque<i32>, i32);

    impl Source for Numbers {
        type Head = i32;
        type Body = i32;

        fn next(&mut self, _: &Appended) -> Result<Option<i32>, Fault> {
            let Some(number) = self.0.pop_front() else {
                return Ok(None);
            };
            if number < 0 {
                return Err(Fault::Item(Error::new(format_args!("{number} is bad"))));
            }
            self.1 = number;
            Ok(Some(number))
        }

        fn body(&mut self) -> Result<i32, Fault> {
            Ok(self.1 * 10)
        }

        fn place(&self) -> Place {
            Place::default()
        }
    }

    /// Pairs two lists; gives the pairs of bodies and the texts of errors. Bodies are read where `bodies` says so.
    fn pairs(first: &[i32], second: Option<&[i32]>, bodies: bool) -> Vec<String> {
        let numbers = |list: &[i32]| Numbers(list.iter().copied().collect(), 0);
        let second = second.map(|list| (numbers(list), "picture"));
        let mut beside = Beside::new((numbers(first), "frame"), second);
        let mut told = Vec::new();
        loop {
            match beside.next(&Appended::default()) {
                Ok(None) => return told,
                Ok(Some(head)) if !bodies => told.push(format!("{head:?}")),
                Ok(Some(_)) => told.push(format!("{:?}", beside.body().ok().unwrap())),
                Err(Fault::Item(error)) => told.push(error.to_string()),
                Err(Fault::Run(error)) => {
                    told.push(format!("end: {error}"));
                    return told;
                }
            }
        }
    }

    #[test]
    fn items_pair_one_to_one_and_a_single_one_is_repeated() {
        for (first, second, expected) in [
            (
                &[1, 2][..],
                &[3, 4][..],
                &["(10, Some(30))", "(20, Some(40))"][..],
            ),
            (
                &[1, 2, 5],
                &[3],
                &["(10, Some(30))", "(20, Some(30))", "(50, Some(30))"],
            ),
            (
                &[1],
                &[3, 4, 6],
                &["(10, Some(30))", "(10, Some(40))", "(10, Some(60))"],
            ),
            (&[1], &[3], &["(10, Some(30))"]),
            (&[], &[], &[]),
            (&[], &[3], &[]),
            (&[1], &[], &[]),
        ] {
            assert_eq!(pairs(first, Some(second), true), expected);
            // Bodies that nobody asked for change nothing.
            assert_eq!(pairs(first, Some(second), false).len(), expected.len());
        }
        assert_eq!(pairs(&[1, 2], None, true), ["(10, None)", "(20, None)"]);
    }

    #[test]
    fn any_other_difference_says_where() {
        assert_eq!(
            pairs(&[1, 2, 3], Some(&[4, 5]), true)[2],
            "end: frame 2: expected a picture beside it, found the end after 2; give as many of both, or one of either"
        );
        assert_eq!(
            pairs(&[1, 2], Some(&[4, 5, 6]), true)[2],
            "end: picture 2: expected a frame beside it, found the end after 2; give as many of both, or one of either"
        );
        assert_eq!(
            pairs(&[], Some(&[4, 5]), true),
            [
                "end: picture 0: expected a frame beside it, found the end after 0; give as many of both, or one of either"
            ]
        );
    }

    #[test]
    fn an_item_that_fails_takes_its_partner_along() {
        assert_eq!(
            pairs(&[1, 2, 5], Some(&[3, -4, 6]), true),
            ["(10, Some(30))", "-4 is bad", "(50, Some(60))"]
        );
        assert_eq!(
            pairs(&[-1], Some(&[3, 4]), true),
            ["-1 is bad", "-1 is bad"]
        );
    }
}
