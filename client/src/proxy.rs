//! Whether the way to a server leads through a proxy.

use std::net::{IpAddr, Ipv4Addr};

use http::Uri;
use kube::Config;

/// The proxy to go through, from the kubeconfig or `HTTPS_PROXY`: never to this very machine, nor to what `no_proxy` lists.
/// (kube compares that list with the proxy's own address, so it has to be done here.)
pub(crate) fn of(config: &Config, no_proxy: &str) -> Result<Option<Uri>, &'static str> {
    let Some(proxy) = &config.proxy_url else {
        return Ok(None);
    };
    let host = config
        .cluster_url
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']']);
    let local = host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    if local
        || no_proxy
            .split(',')
            .any(|pattern| matches(host, pattern.trim()))
    {
        return Ok(None);
    }
    if proxy.scheme_str() != Some("http") {
        return Err("a proxy is configured, but not one of the form http://HOST:PORT");
    }
    // A password that is silently left out would only show as a refusal.
    if proxy
        .authority()
        .is_some_and(|part| part.as_str().contains('@'))
    {
        return Err("a proxy with a user and a password is configured, which is not supported");
    }
    Ok(Some(proxy.clone()))
}

/// `*`, an address, an IPv4 network, or a domain that stands for itself and all under it.
fn matches(host: &str, pattern: &str) -> bool {
    if let Some((network, bits)) = pattern.split_once('/') {
        let parsed = (host.parse(), network.parse(), bits.parse());
        return match parsed {
            (Ok(host), Ok(network), Ok(bits)) => in_network(host, network, bits),
            _ => false,
        };
    }
    let domain = pattern.trim_start_matches("*.").trim_start_matches('.');
    let under = host
        .strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    pattern == "*" || (!domain.is_empty() && under)
}

fn in_network(host: Ipv4Addr, network: Ipv4Addr, bits: u32) -> bool {
    let mask = u32::MAX
        .checked_shl(32_u32.saturating_sub(bits))
        .unwrap_or(0);
    u32::from(host) & mask == u32::from(network) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_through_a_proxy() {
        let proxy = Some("http://p:3128");
        let cases = [
            ("10.0.0.1", proxy, "", Ok(true)),
            ("10.0.0.1", None, "", Ok(false)),
            ("127.0.0.1", proxy, "", Ok(false)),
            ("[::1]", proxy, "", Ok(false)),
            ("localhost", proxy, "", Ok(false)),
            ("hub.a.org", proxy, "b.org, .a.org", Ok(false)),
            ("a.org", proxy, "a.org", Ok(false)),
            ("hub.a.org", proxy, "*.a.org", Ok(false)),
            ("huba.org", proxy, "a.org,,", Ok(true)),
            ("hub.a.org", proxy, "*", Ok(false)),
            ("10.1.2.3", proxy, "10.0.0.0/8", Ok(false)),
            ("11.1.2.3", proxy, "10.0.0.0/8,10.0.0.0/x", Ok(true)),
            ("11.1.2.3", proxy, "0.0.0.0/0", Ok(false)),
            ("p", proxy, "p", Ok(false)),
            ("h", proxy, "p", Ok(true)),
            ("h", Some("socks5://p:1080"), "", Err(())),
            ("h", Some("http://u:secret@p:3128"), "", Err(())),
        ];
        for (host, through, no_proxy, expected) in cases {
            let mut config = Config::new(format!("https://{host}:6443").parse().unwrap());
            config.proxy_url = through.map(|proxy| proxy.parse().unwrap());
            let found = of(&config, no_proxy)
                .map(|proxy| proxy.is_some())
                .map_err(|_| ());
            assert_eq!(found, expected, "{host} {through:?} {no_proxy}");
        }
    }
}
