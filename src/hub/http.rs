//! Whom a request goes to: hosts, redirects, and proxies as curl reads them.

use std::time::Duration;

use anyhow::{Context, Result};
use ureq::{Agent, AgentBuilder};

/// An agent with the proxy that the environment names for this address, as curl reads it.
pub fn agent_for(url: &str) -> Result<Agent> {
    let builder = AgentBuilder::new()
        .redirects(0)
        .user_agent(concat!("covalign/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Duration::from_secs(20))
        .timeout_read(Duration::from_secs(60));
    Ok(match proxy_for(url) {
        Some(proxy) => {
            let context = || format!("HTTPS_PROXY: `{proxy}` is not a proxy's address");
            builder.proxy(ureq::Proxy::new(&proxy).with_context(context)?)
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
