//! Whom a request goes to: hosts, redirects, and proxies as curl reads them.

use std::time::Duration;

use anyhow::{bail, Result};
use ureq::http::uri::{Authority, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::Agent;

use crate::bail_input;

/// An agent with the proxy that the environment names for this address, as curl reads it, and the
/// system's certificates. It follows no redirect, and answers of every status are answers.
pub fn agent_for(url: &str, patience: Duration) -> Result<Agent> {
    let proxy = match proxy_for(url) {
        Some(proxy) => match ureq::Proxy::new(&proxy) {
            Ok(parsed) => Some(parsed),
            // Whose error would say it whole, with the password.
            Err(_) => bail_input!("HTTPS_PROXY: `{}` is not a proxy's address", shown(&proxy)),
        },
        None => None,
    };
    let certificates = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("covalign/", env!("CARGO_PKG_VERSION")))
        .proxy(proxy)
        .tls_config(certificates.build())
        .timeout_resolve(Some(patience))
        .timeout_connect(Some(patience))
        .timeout_recv_response(Some(2 * patience))
        .timeout_per_read(Some(patience));
    Ok(config.build().new_agent())
}

fn proxy_for(url: &str) -> Option<String> {
    let variable = |name: &str| {
        let value = std::env::var(name.to_lowercase()).or_else(|_| std::env::var(name));
        value.ok().filter(|value| !value.is_empty())
    };
    let host = host(url);
    let host = host.split(':').next().unwrap_or_default();
    let excepted = variable("NO_PROXY").unwrap_or_default();
    let direct = |rule: &str| {
        let rule = rule.trim().trim_start_matches('.');
        rule == "*" || rule == host || (!rule.is_empty() && host.ends_with(&format!(".{rule}")))
    };
    if host == "localhost" || host.starts_with("127.") || excepted.split(',').any(direct) {
        return None;
    }
    let scheme = url.split("://").next().unwrap_or_default().to_uppercase();
    variable(&format!("{scheme}_PROXY")).or_else(|| variable("ALL_PROXY"))
}

/// `host:port` of an address as the HTTP library reads it, which is whom it asks; empty where it reads none.
pub fn host(url: &str) -> String {
    let uri = url.parse::<Uri>().unwrap_or_default();
    let of = |authority: &Authority| match authority.port() {
        Some(port) => format!("{}:{port}", authority.host()).to_lowercase(),
        None => authority.host().to_lowercase(),
    };
    uri.authority().map(of).unwrap_or_default()
}

/// `scheme://host:port` of an address: to whom a secret for it may be told.
pub fn origin(url: &str) -> String {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    format!("{}://{}", scheme.to_lowercase(), host(url))
}

/// An address for people: without a name and password before the host, and without a query, in which
/// signatures stand.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = path.split_at(path.find('/').unwrap_or(path.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    match scheme {
        "" => format!("{host}{path}"),
        scheme => format!("{scheme}://{host}{path}"),
    }
}

/// The address that a redirect from `base` means.
///
/// # Errors
/// Where it leads from https to anything else.
pub fn redirected(base: &str, location: &str) -> Result<String> {
    let next = absolute(base, location);
    if origin(base).starts_with("https:") && !origin(&next).starts_with("https:") {
        bail!(
            "{} sends on to {}, where all on the way could change what comes; set HF_ENDPOINT to another \
             mirror",
            shown(base),
            shown(&next)
        );
    }
    Ok(next)
}

fn absolute(base: &str, location: &str) -> String {
    let scheme = base.split("://").next().unwrap_or("https");
    match location {
        l if l.contains("://") => l.to_string(),
        l if l.starts_with("//") => format!("{scheme}:{l}"),
        l if l.starts_with('/') => format!("{scheme}://{}{l}", host(base)),
        l => format!(
            "{}/{l}",
            base.rsplit_once('/').map_or(base, |(head, _)| head)
        ),
    }
}
