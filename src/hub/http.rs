//! Whom a request goes to: hosts, redirects, and proxies as curl reads them.

use std::time::Duration;

use anyhow::Result;
use ureq::{Agent, AgentBuilder};

use crate::bail_input;

/// An agent with the proxy that the environment names for this address, as curl reads it.
pub fn agent_for(url: &str, patience: Duration) -> Result<Agent> {
    let builder = AgentBuilder::new()
        .redirects(0)
        .user_agent(concat!("covalign/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(patience)
        .timeout_read(patience);
    Ok(match proxy_for(url) {
        Some(proxy) => {
            // Whose error would say it whole, with the password.
            let Ok(parsed) = ureq::Proxy::new(&proxy) else {
                bail_input!("HTTPS_PROXY: `{}` is not a proxy's address", shown(&proxy));
            };
            builder.proxy(parsed)
        }
        None => builder,
    }
    .build())
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

/// `host:port` of an address.
pub fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    authority.to_lowercase()
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
pub fn absolute(base: &str, location: &str) -> String {
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
