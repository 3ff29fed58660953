//! A source that is read while the stage computes, so that items that have come can be told from those to wait for.

use crate::{Fault, Place, Source};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use turbo_cli::{Appended, Error};

/// Another source, whose next items a thread may read while the one at hand is computed.
pub struct Ahead<S: Source>(From<S>);

enum From<S: Source> {
    /// Read where it is asked.
    Itself(S),
    Thread(Box<Reader<S>>),
}

/// The near end of the thread.
struct Reader<S: Source> {
    /// Tells the thread to begin, and the file that no input may be; gone when that is done.
    begin: Option<SyncSender<Appended>>,
    told: Receiver<Told<S>>,
    /// The next head, if it was taken from the thread already; and its body likewise.
    next: Option<At<Option<S::Head>>>,
    next_body: Option<At<S::Body>>,
    /// The body of the last head.
    body: Body<S::Body>,
    place: Place,
}

/// What the source gave, and where that lies.
type At<T> = (Result<T, Fault>, Place);

/// What the thread tells: each head, and behind each that is one its body.
enum Told<S: Source> {
    Head(At<Option<S::Head>>),
    Body(At<S::Body>),
}

enum Body<B> {
    /// The thread will tell it.
    Due,
    Here(At<B>),
    /// There is none, or none any more.
    Gone,
}

impl<S> Ahead<S>
where
    S: Source<Head: Send, Body: Send> + Send + 'static,
{
    /// Has about so many items in memory beyond the one at hand; with 0 nothing is read ahead. Nothing is read before the
    /// first item is asked for.
    pub fn new(source: S, items: usize) -> Self {
        if items == 0 {
            return Self(From::Itself(source));
        }
        let (begin, begun) = sync_channel(1);
        // A head and a body each.
        let (tell, told) = sync_channel(items.saturating_mul(2));
        // Ends with its source, or when nobody listens. One that waits for input ends with the process.
        thread::spawn(move || {
            if let Ok(output) = begun.recv() {
                read(source, output, &tell);
            }
        });
        Self(From::Thread(Box::new(Reader {
            begin: Some(begin),
            told,
            next: None,
            next_body: None,
            body: Body::Gone,
            place: Place::default(),
        })))
    }
}

/// Reads all of a source; stops where nobody listens.
fn read<S: Source>(mut source: S, output: Appended, tell: &SyncSender<Told<S>>) {
    loop {
        let head = source.next(&output);
        let (is_item, is_end) = match head {
            Ok(Some(_)) => (true, false),
            Err(Fault::Item(_)) => (false, false),
            Ok(None) | Err(Fault::Run(_)) => (false, true),
        };
        if tell.send(Told::Head((head, source.place()))).is_err() || is_end {
            return;
        }
        if is_item {
            let body = source.body();
            let is_end = matches!(body, Err(Fault::Run(_)));
            if tell.send(Told::Body((body, source.place()))).is_err() || is_end {
                return;
            }
        }
    }
}

impl<S: Source> Reader<S> {
    fn next(&mut self, output: &Appended) -> Result<Option<S::Head>, Fault> {
        if let Some(begin) = self.begin.take() {
            begin.send(*output).map_err(|_| ended())?;
        }
        if !matches!(self.body, Body::Gone) {
            // Nobody wanted it; but what failed in it fails.
            self.body()?;
        }
        let (head, place) = match self.next.take() {
            Some(next) => next,
            None => match self.told.recv() {
                Ok(Told::Head(next)) => next,
                Ok(Told::Body(_)) | Err(_) => return Err(ended()),
            },
        };
        self.place = place;
        self.body = match (&head, self.next_body.take()) {
            (Ok(Some(_)), Some(body)) => Body::Here(body),
            (Ok(Some(_)), None) => Body::Due,
            _ => Body::Gone,
        };
        head
    }

    fn body(&mut self) -> Result<S::Body, Fault> {
        let (body, place) = match std::mem::replace(&mut self.body, Body::Gone) {
            Body::Here(body) => body,
            Body::Due => match self.told.recv() {
                Ok(Told::Body(body)) => body,
                Ok(Told::Head(_)) | Err(_) => return Err(ended()),
            },
            Body::Gone => return Err(Fault::Run(Error::new("no item was begun"))),
        };
        self.place = place;
        body
    }

    fn waiting(&mut self) -> Option<&S::Head> {
        if !matches!(self.body, Body::Gone) {
            return None;
        }
        if self.next.is_none()
            && let Ok(Told::Head(next)) = self.told.try_recv()
        {
            self.next = Some(next);
        }
        let (Ok(Some(head)), _) = self.next.as_ref()? else {
            return None;
        };
        if self.next_body.is_none()
            && let Ok(Told::Body(body)) = self.told.try_recv()
        {
            self.next_body = Some(body);
        }
        matches!(self.next_body, Some((Ok(_), _))).then_some(head)
    }
}

impl<S: Source> Source for Ahead<S> {
    type Head = S::Head;
    type Body = S::Body;

    fn next(&mut self, output: &Appended) -> Result<Option<S::Head>, Fault> {
        match &mut self.0 {
            From::Itself(source) => source.next(output),
            From::Thread(reader) => reader.next(output),
        }
    }

    fn body(&mut self) -> Result<S::Body, Fault> {
        match &mut self.0 {
            From::Itself(source) => source.body(),
            From::Thread(reader) => reader.body(),
        }
    }

    fn place(&self) -> Place {
        match &self.0 {
            From::Itself(source) => source.place(),
            From::Thread(reader) => reader.place.clone(),
        }
    }

    fn waiting(&mut self) -> Option<&S::Head> {
        match &mut self.0 {
            From::Itself(source) => source.waiting(),
            From::Thread(reader) => reader.waiting(),
        }
    }
}

/// The thread is gone: it panicked, or it was asked for more after the end.
fn ended() -> Fault {
    Fault::Run(Error::new("input: the thread that reads it has ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers, as they are sent; a negative one fails, and so does the body of a number above 100.
    struct Sent(Receiver<i32>, i32);

    impl Source for Sent {
        type Head = i32;
        type Body = i32;

        fn next(&mut self, _: &Appended) -> Result<Option<i32>, Fault> {
            let Ok(number) = self.0.recv() else {
                return Ok(None);
            };
            self.1 = number;
            if number < 0 {
                return Err(Fault::Item(Error::new("negative")));
            }
            Ok(Some(number))
        }

        fn body(&mut self) -> Result<i32, Fault> {
            if self.1 > 100 {
                return Err(Fault::Run(Error::new("cut")));
            }
            Ok(self.1 * 10)
        }

        fn place(&self) -> Place {
            Place {
                frame: Some(self.1.unsigned_abs().into()),
                file: None,
            }
        }
    }

    fn source(items: usize) -> (SyncSender<i32>, Ahead<Sent>) {
        let (send, sent) = sync_channel(100);
        (send, Ahead::new(Sent(sent, 0), items))
    }

    /// The next item, or the text of what went wrong; none at the end.
    fn take(ahead: &mut Ahead<Sent>) -> Option<Result<(i32, i32), String>> {
        let text = |fault| match fault {
            Fault::Item(error) => error.to_string(),
            Fault::Run(error) => format!("end: {error}"),
        };
        let head = match ahead.next(&Appended::default()) {
            Ok(head) => head?,
            Err(fault) => return Some(Err(text(fault))),
        };
        Some(ahead.body().map(|body| (head, body)).map_err(text))
    }

    /// Waits until the thread has read what was sent.
    fn wait_for(ahead: &mut Ahead<Sent>, expected: i32) {
        let start = std::time::Instant::now();
        while ahead.waiting() != Some(&expected) {
            assert!(start.elapsed().as_secs() < 60, "{expected} never came");
            thread::yield_now();
        }
    }

    #[test]
    fn items_are_those_of_the_source() {
        for items in [0, 1, 3] {
            let (send, mut ahead) = source(items);
            for number in [1, 2, -3, 4, 101] {
                send.send(number).unwrap();
            }
            drop(send);
            let mut taken = || take(&mut ahead).unwrap();
            assert_eq!(taken(), Ok((1, 10)));
            assert_eq!(taken(), Ok((2, 20)));
            assert_eq!(taken(), Err("negative".into()));
            assert_eq!(taken(), Ok((4, 40)));
            assert_eq!(taken(), Err("end: cut".into()));
        }
        let (send, mut ahead) = source(2);
        drop(send);
        assert_eq!(take(&mut ahead), None);
    }

    #[test]
    fn what_has_come_waits_and_nothing_else_does() {
        let (send, mut ahead) = source(2);
        send.send(1).unwrap();
        assert_eq!(ahead.waiting(), None, "nothing was begun");
        assert_eq!(ahead.next(&Appended::default()).ok(), Some(Some(1)));
        send.send(2).unwrap();
        assert_eq!(ahead.waiting(), None, "a body is still to be taken");
        assert_eq!(ahead.body().ok(), Some(10));
        wait_for(&mut ahead, 2);
        // Its place is its own only when it is at hand.
        assert_eq!(ahead.place().frame, Some(1));
        assert_eq!(take(&mut ahead), Some(Ok((2, 20))));
        assert_eq!(ahead.place().frame, Some(2));
        assert_eq!(ahead.waiting(), None, "nothing was sent");
        // What fails is told in its turn.
        send.send(-3).unwrap();
        send.send(4).unwrap();
        drop(send);
        assert_eq!(take(&mut ahead), Some(Err("negative".into())));
        wait_for(&mut ahead, 4);
        assert_eq!(take(&mut ahead), Some(Ok((4, 40))));
        assert_eq!(take(&mut ahead), None);
    }

    #[test]
    fn a_body_that_nobody_takes_is_passed_over() {
        let (send, mut ahead) = source(1);
        for number in [1, 2, 101] {
            send.send(number).unwrap();
        }
        let mut next = || ahead.next(&Appended::default());
        assert_eq!(next().ok(), Some(Some(1)));
        assert_eq!(next().ok(), Some(Some(2)));
        assert_eq!(next().ok(), Some(Some(101)));
        assert!(matches!(next(), Err(Fault::Run(_))));
    }
}
