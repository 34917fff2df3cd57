//! Special and added tokens, gathered from an encoder's files as transformers gathers them.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;
use tokenizers::AddedToken;

use super::files::Files;
use crate::input_error;

/// The names that every tokenizer may have a token for, in transformers' order.
const NAMES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// The tokens beside the model's own.
pub struct Added {
    /// `cls_token` and its like.
    named: Vec<(String, AddedToken)>,
    /// Tokens with the ids that the files give them.
    pub numbered: BTreeMap<u32, AddedToken>,
    /// Special tokens without a name.
    extra: Vec<AddedToken>,
}

impl Added {
    /// Reads them; `defaults` are names that have a token where no file says which.
    ///
    /// `added_tokens_decoder` of tokenizer_config.json holds them all where it is there; in older
    /// folders they are in special_tokens_map.json, added_tokens.json and tokenizer.json.
    pub fn read(files: &Files, defaults: &[(&str, &str)]) -> Result<Added> {
        let config = &files.config;
        let settled = config["added_tokens_decoder"].as_object();
        let mut added = Added {
            named: Vec::new(),
            numbered: BTreeMap::new(),
            extra: Vec::new(),
        };
        for (name, token) in defaults {
            added.name(name, AddedToken::from(*token, true));
        }
        added.read_names(config);
        added.read_extra(config, "additional_special_tokens");
        if settled.is_none() {
            added.read_names(&files.special);
        }
        let place = files.shown("tokenizer_config.json");
        for (id, value) in settled.into_iter().flatten() {
            let found = id.parse().ok().zip(token(value));
            let (id, token) = found.ok_or_else(|| {
                input_error!("{place}: key `added_tokens_decoder.{id}` is no token with its id")
            })?;
            added.numbered.insert(id, token);
        }
        if settled.is_none() {
            added.read_numbered(files)?;
            // Only now: transformers 5 takes such a token of added_tokens.json for a plain one.
            added.read_extra(&files.special, "additional_special_tokens");
        }
        added.share_flags();
        Ok(added)
    }

    /// The token that a name stands for, such as `cls_token`.
    pub fn named(&self, name: &str) -> Option<&str> {
        let found = self.named.iter().find(|(known, _)| known == name);
        found.map(|(_, token)| token.content.as_str())
    }

    /// All tokens, in the order in which transformers adds them.
    pub fn tokens(&self) -> Vec<AddedToken> {
        let mut all: Vec<AddedToken> = Vec::new();
        for token in self.numbered.values() {
            let special =
                token.special || self.named.iter().any(|(_, t)| t.content == token.content);
            all.push(token.clone().special(special));
        }
        for token in self.named.iter().map(|(_, token)| token).chain(&self.extra) {
            if !all.iter().any(|known| known.content == token.content) {
                all.push(token.clone());
            }
        }
        all
    }

    fn name(&mut self, name: &str, token: AddedToken) {
        match self.named.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = token,
            None => self.named.push((name.to_owned(), token)),
        }
    }

    fn read_names(&mut self, from: &Value) {
        // A model's own names come after those that all have.
        let all = from.as_object().into_iter().flatten();
        let own = all.filter(|(key, _)| key.ends_with("_token") && !NAMES.contains(&key.as_str()));
        let common = NAMES.iter().map(|name| (*name, &from[*name]));
        let own = own.map(|(key, value)| (key.as_str(), value));
        for (name, value) in common.chain(own) {
            if let Some(token) = special(value) {
                self.name(name, token);
            }
        }
        if let Some(names) = from["extra_special_tokens"].as_object() {
            let tokens = names.iter().filter_map(|(n, v)| Some((n, special(v)?)));
            tokens.for_each(|(name, token)| self.name(name, token));
        }
        self.read_extra(from, "extra_special_tokens");
    }

    /// The old key counts only where the new one has said nothing.
    fn read_extra(&mut self, from: &Value, key: &str) {
        if key == "additional_special_tokens" && !self.extra.is_empty() {
            return;
        }
        let list = from[key].as_array().into_iter().flatten();
        for token in list.filter_map(special) {
            if !self.extra.contains(&token) {
                self.extra.push(token);
            }
        }
    }

    fn read_numbered(&mut self, files: &Files) -> Result<()> {
        let place = files.shown("added_tokens.json");
        let is_special = |added: &Added, content: &str| {
            let named = added.named.iter().map(|(_, token)| token);
            named.chain(&added.extra).any(|t| t.content == content)
        };
        for (content, id) in files.added.as_object().into_iter().flatten() {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| input_error!("{place}: `{content}` has no whole id"))?;
            let special = is_special(self, content);
            self.numbered
                .insert(id, AddedToken::from(content.as_str(), special));
        }
        let place = files.shown("tokenizer.json");
        for value in files.full["added_tokens"].as_array().into_iter().flatten() {
            let id = value["id"].as_u64().and_then(|id| u32::try_from(id).ok());
            let (id, token) = id.zip(token(value)).ok_or_else(|| {
                input_error!("{place}: key `added_tokens`: {value} is no token with its id")
            })?;
            self.numbered.insert(id, token);
        }
        Ok(())
    }

    /// A named token is matched as its numbered one says.
    fn share_flags(&mut self) {
        for (_, token) in &mut self.named {
            let same = |t: &&AddedToken| t.content == token.content;
            if let Some(known) = self.numbered.values().find(same) {
                *token = known.clone();
            }
        }
    }
}

/// A token with its flags; without them, one that is no special token.
fn token(value: &Value) -> Option<AddedToken> {
    let content = value["content"].as_str()?;
    let flag = |key: &str| value[key].as_bool();
    let special = flag("special").unwrap_or(false);
    Some(AddedToken {
        single_word: flag("single_word").unwrap_or(false),
        lstrip: flag("lstrip").unwrap_or(false),
        rstrip: flag("rstrip").unwrap_or(false),
        normalized: flag("normalized").unwrap_or(!special),
        ..AddedToken::from(content, special)
    })
}

/// A special token: its text, or its text with flags.
fn special(value: &Value) -> Option<AddedToken> {
    match value.as_str() {
        Some("") => None,
        Some(text) => Some(AddedToken::from(text, true)),
        None => {
            let token = token(value)?;
            let normalized = value["normalized"].as_bool().unwrap_or(false);
            Some(token.special(true).normalized(normalized))
        }
    }
}
