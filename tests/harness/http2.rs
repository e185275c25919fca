//! Frames and headers of HTTP/2, made by hand: for clients that keep to no rule.

/// The frame with a part of a body (RFC 9113 §6.1).
pub const DATA: u8 = 0;
/// The frame that begins a stream with its headers.
pub const HEADERS: u8 = 1;
/// The frame that ends a stream early.
pub const RST_STREAM: u8 = 3;
/// The frame with the sender's settings.
pub const SETTINGS: u8 = 4;
/// The frame that asks for an answer.
pub const PING: u8 = 6;
/// The frame that allows more bytes of bodies.
pub const WINDOW_UPDATE: u8 = 8;

/// The flag of the last frame of a stream.
pub const END_STREAM: u8 = 1;
/// The flag of headers that are in one frame.
pub const END_HEADERS: u8 = 4;

/// The longest payload of a frame that every peer accepts.
pub const LARGEST_FRAME: usize = 16_384;

/// The first bytes of a client: the preface, and settings without a change.
pub const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A frame of HTTP/2 (RFC 9113 §4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call of the broker's service, none of them indexed (RFC 7541 §6.2.2) but POST and http.
pub fn headers(method: &str) -> Vec<u8> {
    headers_of("cardbroker.v1.CardBrokerService", method)
}

/// As [`headers`], of any service.
pub fn headers_of(service: &str, method: &str) -> Vec<u8> {
    let path = format!("/{service}/{method}");
    let fields =
        [(":path", &*path), (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers")];
    let fields = fields.into_iter().flat_map(|(name, value)| literal(name, value));
    [0x83, 0x86].into_iter().chain(fields).collect()
}

/// A header field that is not indexed.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// A message of gRPC with its prefix, which is not compressed.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    [&[0][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// A call on the stream of that number, with all its messages.
pub fn call(stream: u32, headers: &[u8], messages: &[Vec<u8>], ends: bool) -> Vec<u8> {
    let body: Vec<u8> = messages.iter().flat_map(|bytes| message(bytes)).collect();
    let mut bytes = frame(HEADERS, END_HEADERS, stream, headers);
    let mut parts = body.chunks(LARGEST_FRAME).peekable();
    while let Some(part) = parts.next() {
        let flags = if ends && parts.peek().is_none() { END_STREAM } else { 0 };
        bytes.extend(frame(DATA, flags, stream, part));
    }
    bytes
}

/// A string without Huffman coding (RFC 7541 §5.2), its length with a prefix of 7 bits (§5.1).
fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match text.len() {
        length @ ..127 => bytes.push(length as u8),
        length => {
            let mut rest = length - 127;
            bytes.push(127);
            while rest >= 128 {
                bytes.push((rest % 128 + 128) as u8);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend(text.as_bytes());
    bytes
}
