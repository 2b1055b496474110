//! A client that speaks as much HTTP as this example needs.
//!
//! Decides: nothing. Never does: keep a connection.

use crate::arena::Failure;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a process answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200, or the kind of problem.
    pub status: u16,
    body: Value,
}

impl Answer {
    /// The body, as what it is when the status is 200.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Failure> {
        if self.status != 200 {
            return Err(format!("{}: {}", self.status, self.problem()).into());
        }
        Ok(serde_json::from_value(self.body)?)
    }

    /// What was wrong, when it is not.
    pub fn problem(&self) -> &str {
        self.body["problem"].as_str().unwrap_or_default()
    }
}

/// Asks a process on this machine.
pub async fn get(port: u16, path: &str) -> Result<Answer, Failure> {
    exchange(port, format!("GET {path} HTTP/1.1\r\n"), String::new()).await
}

/// Has a process on this machine do something.
pub async fn post(port: u16, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
    exchange(port, format!("POST {path} HTTP/1.1\r\n"), serde_json::to_string(body)?).await
}

async fn exchange(port: u16, first_line: String, body: String) -> Result<Answer, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!(
        "{first_line}host: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
    let status = head.split(' ').nth(1).ok_or("an answer without a status")?.parse()?;
    Ok(Answer { status, body: serde_json::from_str(body).unwrap_or(Value::Null) })
}
