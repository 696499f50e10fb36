//! The body of a request, in pieces that are counted as the connection takes them.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents},
    primitives::SdkBody,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::interceptors::{context::BeforeTransmitInterceptorContextMut, dyn_dispatch_hint},
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::write_progress::WriteProgress;

/// Bytes that are handed to the connection at once. A connection that does not send takes no more
/// than a few of them.
const PIECE: usize = 64 << 10;

/// Counts the body of each try of a request. It comes after the request is signed: the signature is
/// that of the whole body.
#[derive(Debug)]
pub(super) struct Counting(pub(super) WriteProgress);

#[dyn_dispatch_hint]
impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let progress = self.0.clone();
        let body = context.request_mut().body_mut();
        let whole = mem::replace(body, SdkBody::taken());
        *body = whole.map_preserve_contents(move |body| {
            SdkBody::from_body_1_x(Pieces {
                left: body.content_length(),
                body,
                held: Bytes::new(),
                sent: 0,
                progress: progress.clone(),
            })
        });
        Ok(())
    }
}

struct Pieces {
    body: SdkBody,
    /// Taken from the body and not yet handed on.
    held: Bytes,
    /// Bytes still to come, if the body announces their number.
    left: Option<u64>,
    sent: u64,
    progress: WriteProgress,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.held.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.held = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return Poll::Ready(other),
            }
        }
        // Bytes handed on before are on their way, or the connection would not request more.
        this.progress.reached(this.sent);
        let piece = this.held.split_to(this.held.len().min(PIECE));
        let length = piece.len() as u64;
        this.sent += length;
        this.left = this.left.map(|left| left.saturating_sub(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::write_progress::BytesSent;

    #[test]
    fn a_body_is_handed_on_in_pieces_and_counts_once_more_is_asked_for() {
        let moved = BytesSent::default();
        let content: Vec<u8> = (0..=250).cycle().take(PIECE * 2 + 1).collect();
        let mut pieces = Pieces {
            left: Some(content.len() as u64),
            body: SdkBody::from(content.clone()),
            held: Bytes::new(),
            sent: 0,
            progress: moved.object(),
        };
        let mut context = Context::from_waker(Waker::noop());
        let (mut got, mut counted) = (Vec::new(), Vec::new());
        while let Poll::Ready(Some(frame)) = Pin::new(&mut pieces).poll_frame(&mut context) {
            got.extend_from_slice(&frame.unwrap().into_data().unwrap());
            counted.push(moved.bytes());
        }
        assert!(pieces.is_end_stream());
        assert_eq!(pieces.size_hint().exact(), Some(0));
        assert_eq!(got, content);
        assert_eq!(counted, [0, PIECE as u64, 2 * PIECE as u64]);
    }
}
