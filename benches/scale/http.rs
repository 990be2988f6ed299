//! The smallest client: a request, and an answer of which nothing is kept.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// What an answer had, its head included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: u64,
    /// Lines of which the first character is `{`: rows of a dump.
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
    let mut last = b'\n';
    loop {
        let read = connection.read(&mut piece).map_err(failed)?;
        let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else {
            break;
        };
        if answer.bytes == 0 && !piece.starts_with(b"HTTP/1.0 200") && !piece.starts_with(b"HTTP/1.1 200") {
            return Err(format!("GET {path}: {}", String::from_utf8_lossy(piece)));
        }
        for byte in piece {
            answer.lines += u64::from(last == b'\n' && *byte == b'{');
            last = *byte;
        }
        answer.bytes += read as u64;
    }
    Ok(answer)
}
