//! The least HTTPS client that can ask an API server whether it is ready and give it nodes: one request per connection,
//! with a client certificate and a deadline. The tests and the demo use the `client` crate.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

/// An API server on loopback, spoken to as one user.
#[derive(Debug, Clone)]
pub(crate) struct Https {
    port: u16,
    config: Arc<ClientConfig>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Https {
    /// A client for `127.0.0.1:port`, from PEM texts.
    pub(crate) fn new(port: u16, ca: &str, cert: &str, key: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(cert.as_bytes())?],
                    PrivateKeyDer::from_pem_slice(key.as_bytes())?,
                )?;
        Ok(Self {
            port,
            config: Arc::new(config),
        })
    }

    /// One GET.
    pub(crate) fn get(&self, path: &str, limit: Duration) -> Result<Response> {
        self.request("GET", path, "", limit)
    }

    /// One POST of a JSON body.
    pub(crate) fn post(&self, path: &str, body: &str, limit: Duration) -> Result<Response> {
        self.request("POST", path, body, limit)
    }

    /// One DELETE; of a whole list, where the path is one's.
    pub(crate) fn delete(&self, path: &str, limit: Duration) -> Result<Response> {
        self.request("DELETE", path, "", limit)
    }

    fn request(&self, method: &str, path: &str, body: &str, limit: Duration) -> Result<Response> {
        let tcp =
            TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), limit)?;
        tcp.set_read_timeout(Some(limit))?;
        tcp.set_write_timeout(Some(limit))?;
        let tls = ClientConnection::new(
            self.config.clone(),
            ServerName::IpAddress(Ipv4Addr::LOCALHOST.into()),
        )?;
        let mut stream = StreamOwned::new(tls, tcp);
        // HTTP/1.0: the answer comes unchunked and the server closes the connection behind it.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: application/json\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            // Closed without a TLS goodbye: HTTP/1.0 says that the answer is whole.
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error.into()),
            _ => parse(&String::from_utf8_lossy(&bytes)),
        }
    }
}

fn parse(text: &str) -> Result<Response> {
    let (head, body) = text.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .context("an HTTP answer without status")?;
    Ok(Response {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split_into_status_and_body() {
        let answer =
            parse("HTTP/1.0 403 Forbidden\r\nAudit-Id: x\r\n\r\n{\"a\":1}\r\n\r\n").unwrap();
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (403, "{\"a\":1}\r\n\r\n")
        );
        assert!(parse("HTTP/1.0 200 OK").is_err());
        assert!(parse("garbage\r\n\r\n").is_err());
    }
}
