//! The codec of the services: prost with buffers for messages of the usual size, a command or a few.
//!
//! tonic's own buffers have 8 KiB for each direction of each call. Most of that is never written, but a program that
//! wipes its memory wipes it all.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// The first size of a buffer, in bytes. It grows with the message.
const FIRST_BYTES: usize = 1024;

/// Waiting messages of a stream are sent together up to this size, in bytes. tonic's own value.
const TOGETHER_BYTES: usize = 32 * 1024;

/// A codec for a call that sends `T` and receives `U`.
#[derive(Debug, Clone)]
pub(crate) struct SmallCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> ProstEncoder<T> {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(FIRST_BYTES, TOGETHER_BYTES))
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(FIRST_BYTES, TOGETHER_BYTES))
    }
}
