//! The smallest client: a request, and an answer of which nothing is kept.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// What an answer had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Its head included.
    pub(crate) bytes: u64,
    /// Without its head: the rows of a dump.
    pub(crate) lines: u64,
}

pub(crate) fn get(address: SocketAddr, path: &str, accept: &str) -> Result<Answer, String> {
    let failed = |error: std::io::Error| format!("GET {path}: {error}");
    let mut connection = TcpStream::connect(address).map_err(failed)?;
    // HTTP/1.0: the body comes as it is, not in chunks, and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
    connection.write_all(request.as_bytes()).map_err(failed)?;
    let mut piece = vec![0; 256 * 1_024];
    let mut answer = Answer { bytes: 0, lines: 0 };
    loop {
        let read = connection.read(&mut piece).map_err(failed)?;
        let Some(mut piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else {
            return Ok(answer);
        };
        if answer.bytes == 0 {
            if !piece.starts_with(b"HTTP/1.0 200") && !piece.starts_with(b"HTTP/1.1 200") {
                return Err(format!("GET {path}: {}", String::from_utf8_lossy(piece)));
            }
            // The head is in one piece, since the server writes it at once.
            let head = piece.windows(4).position(|end| end == b"\r\n\r\n");
            piece = &piece[head.map_or(0, |head| head + 4)..];
        }
        answer.lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        answer.bytes += read as u64;
    }
}
