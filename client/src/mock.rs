pub(crate) const HTTP2_WITHOUT_TLS: &str = "http2-without-tls";
