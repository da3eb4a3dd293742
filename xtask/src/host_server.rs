//! A small HTTP server on the host's loopback, for domain 0 to fetch from through its network cards.
//!
//! `/random/N` is N bytes that look random and are always the same; `/random/N.sha256` their SHA-256.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use anyhow::Result;
use sha2::{Digest, Sha256};

/// More than any test fetches.
const MOST: usize = 1 << 30;

/// Starts the server; it ends with the process. Gives its port.
pub(crate) fn start() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is no concern of ours.
            thread::spawn(move || drop(serve(&stream)));
        }
    });
    Ok(port)
}

fn serve(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request.split_whitespace().nth(1).unwrap_or("");
    let Some(body) = body(path) else {
        return stream.write_all(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

fn body(path: &str) -> Option<Vec<u8>> {
    let wanted = path.strip_prefix("/random/")?;
    if let Some(size) = wanted.strip_suffix(".sha256") {
        return Some(hex(&Sha256::digest(random(size.parse().ok()?)?)).into_bytes());
    }
    random(wanted.parse().ok()?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Xorshift's output.
fn random(size: usize) -> Option<Vec<u8>> {
    if size > MOST {
        return None;
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{body, random};

    #[test]
    fn serves_bytes_and_their_sum() {
        assert_eq!(body("/random/13").map(|bytes| bytes.len()), Some(13));
        assert_eq!(random(100), random(100));
        // SHA-256 of nothing.
        assert_eq!(
            body("/random/0.sha256").as_deref(),
            Some(&b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"[..])
        );
        assert_eq!(body("/random/-1"), None);
        assert_eq!(body("/random/9999999999"), None);
        assert_eq!(body("/etc/passwd"), None);
    }
}
