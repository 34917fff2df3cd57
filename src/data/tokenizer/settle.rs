//! Which tokenizer an encoder's files describe. transformers 5 decides; where its answer would
//! ignore what the files say, this refuses or says so.

use anyhow::Result;
use serde_json::{json, Map, Value};
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{AddedToken, DecoderWrapper, Tokenizer};

use super::added::Added;
use super::files::Files;
use super::plain::SPECIAL;
use crate::data::normalize::Casing;
use crate::{bail_input, input_error};

/// An encoder's tokenizer with every decision made.
pub struct Settled {
    pub tokenizer: Tokenizer,
    pub pad: u32,
    /// Whether the encoder is told where the second text starts.
    pub segments: bool,
    /// Whether a text that is too long loses its beginning.
    pub cut_left: bool,
    /// A `tokenizer_config.json` with which the other files leave nothing open.
    pub config: Map<String, Value>,
    /// What was decided that the files leave open, or where they disagree.
    pub notes: Vec<String>,
}

/// The options of BERT's normalizer.
#[derive(Clone, Copy)]
pub struct Letters {
    pub casing: Casing,
    /// Whether each Chinese character is a word of its own.
    pub split_chinese: bool,
}

/// How transformers makes the tokenizer.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    /// `BertTokenizer`: BERT's steps, with the files' vocabulary and options.
    Bert,
    /// `DistilBertTokenizer`: the same without segments.
    DistilBert,
    /// `PreTrainedTokenizerFast`: what tokenizer.json says.
    File,
}

pub fn settle(files: &Files) -> Result<Settled> {
    let class = class(files)?;
    let mut settled = match class {
        Class::Bert | Class::DistilBert => bert(files)?,
        Class::File => from_file(files)?,
    };
    let config = &files.config;
    let inputs = config["model_input_names"].as_array();
    settled.segments = match inputs {
        Some(names) => names.iter().any(|name| name == "token_type_ids"),
        None => class != Class::DistilBert,
    };
    if inputs.is_none() && class == Class::File {
        // transformers 5 leaves segments out where this is not said, transformers 4 did not.
        let names = ["input_ids", "token_type_ids", "attention_mask"];
        settled
            .config
            .insert("model_input_names".into(), json!(names));
    }
    let name = match class {
        Class::Bert => "BertTokenizer",
        Class::DistilBert => "DistilBertTokenizer",
        Class::File => "PreTrainedTokenizerFast",
    };
    if config["tokenizer_class"].is_null() {
        settled.config.insert("tokenizer_class".into(), name.into());
    }
    let side = |value: &Value| value.as_str().map(str::to_lowercase);
    let cut =
        side(&config["truncation_side"]).or_else(|| side(&files.full["truncation"]["direction"]));
    settled.cut_left = cut.is_some_and(|side| side == "left");
    if config["split_special_tokens"] == true {
        settled.tokenizer.set_encode_special_tokens(true);
    }
    Ok(settled)
}

fn class(files: &Files) -> Result<Class> {
    let config = files.shown("tokenizer_config.json");
    if !files.config["auto_map"].is_null() {
        bail_input!(
            "{config}: key `auto_map`: a tokenizer with Python code of its own cannot be read"
        );
    }
    if !files.config["word_tokenizer_type"].is_null() {
        bail_input!(
            "{config}: key `word_tokenizer_type`: BertJapaneseTokenizer's words cannot be read; \
             covalign knows BertTokenizer and tokenizer.json"
        );
    }
    let named = [
        (&files.config, config),
        (&files.encoder, files.shown("config.json")),
    ];
    let named = named.iter().find_map(|(json, place)| {
        let name = json["tokenizer_class"].as_str()?;
        Some((name, place))
    });
    let Some((name, place)) = named else {
        return Ok(Class::Bert);
    };
    match name {
        "PreTrainedTokenizerFast" | "TokenizersBackend" => return Ok(Class::File),
        _ => (),
    }
    match name.strip_suffix("Fast").unwrap_or(name) {
        // The others are BertTokenizer under another name.
        "BertTokenizer"
        | "ElectraTokenizer"
        | "MobileBertTokenizer"
        | "LxmertTokenizer"
        | "LayoutLMTokenizer" => Ok(Class::Bert),
        "DistilBertTokenizer" => Ok(Class::DistilBert),
        _ => bail_input!(
            "{place}: key `tokenizer_class`: {name} cannot be read; covalign knows BertTokenizer, \
             and tokenizer.json under PreTrainedTokenizerFast"
        ),
    }
}

/// tokenizer.json's steps, as they stand.
fn from_file(files: &Files) -> Result<Settled> {
    let place = files.shown("tokenizer.json");
    if files.full.is_null() {
        bail_input!("{place}: no such file, but tokenizer_class says that the tokenizer is there");
    }
    check_model(&files.full["model"], &place)?;
    let mut tokenizer: Tokenizer = serde_json::from_value(files.full.clone())
        .map_err(|e| input_error!("{place}: cannot be read: {e}"))?;
    // Rows are cut and filled up by the config of a run.
    let cut = tokenizer.with_truncation(None);
    cut.map_err(|e| input_error!("{place}: {e}"))?;
    tokenizer.with_padding(None);
    tokenizer.with_decoder(None::<DecoderWrapper>);
    let added = Added::read(files, &[])?;
    let pad = added.named("pad_token");
    let pad = pad.or_else(|| files.full["padding"]["pad_token"].as_str());
    let Some(pad) = pad.map(str::to_owned) else {
        bail_input!(
            "{}: no `pad_token`, with which shorter rows are filled up",
            files.shown("tokenizer_config.json")
        );
    };
    add(&mut tokenizer, &added, files)?;
    let Some(pad) = tokenizer.token_to_id(&pad) else {
        bail_input!("{place}: the vocabulary has no `{pad}`, the `pad_token`");
    };
    let empty = tokenizer.encode_fast("", true);
    let empty = empty.map_err(|e| input_error!("{place}: {e}"))?;
    let first = empty.get_tokens().first();
    let cls = added.named("cls_token");
    if first.is_none() || cls.is_some() && first.map(String::as_str) != cls {
        bail_input!(
            "{place}: key `post_processor`: it does not begin a row with {}, from which tasks are \
             read",
            cls.unwrap_or("a token of its own")
        );
    }
    Ok(Settled {
        tokenizer,
        pad,
        segments: true,
        cut_left: false,
        config: files.config.as_object().cloned().unwrap_or_default(),
        notes: Vec::new(),
    })
}

/// Whether every text has ids in this model, and always the same ones.
fn check_model(model: &Value, place: &str) -> Result<()> {
    let unknown = &model["unk_token"];
    let known = unknown
        .as_str()
        .is_none_or(|token| !model["vocab"][token].is_null());
    if !known {
        bail_input!("{place}: key `model.unk_token`: {unknown} is not in the vocabulary");
    }
    if model["type"] == "Unigram" && model["unk_id"].is_null() {
        bail_input!("{place}: key `model.unk_id`: without it a new character has no id");
    }
    if model["dropout"].as_f64().is_some_and(|share| share > 0.0) {
        bail_input!("{place}: key `model.dropout`: tokens drawn by chance are not for fine-tuning");
    }
    Ok(())
}

/// BERT's steps with the files' vocabulary, options and tokens.
fn bert(files: &Files) -> Result<Settled> {
    let defaults = [
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ];
    let added = Added::read(files, &defaults)?;
    let [unk, sep, pad, cls, mask] =
        defaults.map(|(name, token)| added.named(name).unwrap_or(token).to_owned());
    check_bert(files, &unk, &cls, &sep)?;
    let (vocabulary, note) = files.vocabulary()?;
    let place = files.shown(files.vocabulary_file());
    for token in [&pad, &unk, &cls, &sep, &mask] {
        let extra = added.numbered.values().any(|t| t.content == *token);
        if !(vocabulary.contains_key(token) || extra && *token != unk) {
            bail_input!("{place}: the vocabulary has no `{token}`; it is not BERT's");
        }
    }
    if let Some((token, id)) = vocabulary.iter().find(|(_, id)| !id.is_u64()) {
        bail_input!("{place}: key `model.vocab`: `{token}` has {id}, no whole number");
    }
    let mut notes: Vec<String> = note.into_iter().collect();
    let Letters {
        casing,
        split_chinese,
    } = letters(files, &mut notes);
    let id = |token: &String| {
        let extra = added.numbered.iter().find(|(_, t)| t.content == *token);
        let own = vocabulary.get(token).cloned();
        own.unwrap_or_else(|| extra.map_or(Value::Null, |(id, _)| json!(id)))
    };
    let special = |token: &String| {
        let id = id(token);
        (
            token.clone(),
            json!({"id": token, "ids": [id], "tokens": [token]}),
        )
    };
    let special: Map<String, Value> = [&cls, &sep].into_iter().map(special).collect();
    let [single, pair] = templates(&cls, &sep);
    let full = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": split_chinese,
            "strip_accents": casing.strip_accents,
            "lowercase": casing.lower,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": pair,
            "special_tokens": special,
        },
        "decoder": null,
        "model": {
            "type": "WordPiece",
            "unk_token": unk,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    });
    let mut tokenizer: Tokenizer =
        serde_json::from_value(full).map_err(|e| input_error!("{place}: cannot be read: {e}"))?;
    add(&mut tokenizer, &added, files)?;
    let mut config = files.config.as_object().cloned().unwrap_or_default();
    config.insert("do_lower_case".into(), casing.lower.into());
    config.insert("strip_accents".into(), casing.strip_accents.into());
    config.insert("tokenize_chinese_chars".into(), split_chinese.into());
    Ok(Settled {
        pad: tokenizer.token_to_id(&pad).unwrap_or_default(),
        tokenizer,
        segments: true,
        cut_left: false,
        config,
        notes,
    })
}

/// `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]` as tokenizer.json writes them.
pub fn templates(cls: &str, sep: &str) -> [Value; 2] {
    let token =
        |token: &str, segment: u8| json!({"SpecialToken": {"id": token, "type_id": segment}});
    let text = |text: &str, segment: u8| json!({"Sequence": {"id": text, "type_id": segment}});
    [
        json!([token(cls, 0), text("A", 0), token(sep, 0)]),
        json!([
            token(cls, 0),
            text("A", 0),
            token(sep, 0),
            text("B", 1),
            token(sep, 1)
        ]),
    ]
}

/// transformers' BertTokenizer takes the vocabulary out of tokenizer.json and leaves its steps:
/// they must be BERT's.
fn check_bert(files: &Files, unk: &str, cls: &str, sep: &str) -> Result<()> {
    let full = &files.full;
    let (model, normalizer) = (&full["model"], &full["normalizer"]);
    // What is not there is not said.
    let said = |value: Option<&Value>, expected: Value| match value {
        Some(value) if *value != expected => Some(value.clone()),
        _ => None,
    };
    let unlike = |key: &str, value: Option<Value>| value.map(|value| (key.to_owned(), value));
    let step = |key: &str, name: &str| match full.get(key) {
        Some(Value::Null) => unlike(key, Some(Value::Null)),
        _ => unlike(
            &format!("{key}.type"),
            said(full[key].get("type"), name.into()),
        ),
    };
    let [single, pair] = templates(cls, sep);
    let processor = &full["post_processor"];
    let other_processor = match processor["type"].as_str() {
        Some("TemplateProcessing") => processor["single"] != single || processor["pair"] != pair,
        Some("BertProcessing") | None => false,
        Some(_) => true,
    };
    let found = unlike("model.type", said(model.get("type"), "WordPiece".into()))
        .or_else(|| unlike("model.unk_token", said(model.get("unk_token"), unk.into())))
        .or_else(|| {
            let prefix = said(model.get("continuing_subword_prefix"), "##".into());
            unlike("model.continuing_subword_prefix", prefix)
        })
        .or_else(|| {
            let most = said(model.get("max_input_chars_per_word"), 100.into());
            unlike("model.max_input_chars_per_word", most)
        })
        .or_else(|| step("normalizer", "BertNormalizer"))
        .or_else(|| {
            unlike(
                "normalizer.clean_text",
                said(normalizer.get("clean_text"), true.into()),
            )
        })
        .or_else(|| step("pre_tokenizer", "BertPreTokenizer"))
        .or_else(|| other_processor.then(|| ("post_processor".into(), processor["type"].clone())));
    if let Some((key, value)) = found {
        bail_input!(
            "{}: key `{key}`: {value} is not BERT's, but the tokenizer's class is BertTokenizer; \
             where tokenizer.json is right, write \"tokenizer_class\": \"PreTrainedTokenizerFast\" \
             into tokenizer_config.json",
            files.shown("tokenizer.json")
        );
    }
    Ok(())
}

/// tokenizer_config.json's casing, else tokenizer.json's, else by the folder's name.
fn letters(files: &Files, notes: &mut Vec<String>) -> Letters {
    let folder = files.folder.display();
    let normalizer = &files.full["normalizer"];
    let said = |key: &str, other: &str| {
        let (first, second) = (files.config[key].as_bool(), normalizer[other].as_bool());
        let note = match (first, second) {
            (Some(a), Some(b)) if a != b => Some(format!(
                "{folder}: tokenizer_config.json says {key} {a}, tokenizer.json says {other} {b}; \
                 the first counts, as in transformers"
            )),
            _ => None,
        };
        (first.or(second), note)
    };
    // transformers takes tokenizer_config.json's word only, which a run's encoder then has.
    let alone = |key: &str, other: &str, value: bool| {
        format!(
            "{folder}: tokenizer.json says {other} {value} and counts, as tokenizer_config.json \
             has no {key} (transformers would take {})",
            !value
        )
    };
    let is_said = |key: &str| files.config[key].is_boolean();

    let (lower, note) = said("do_lower_case", "lowercase");
    notes.extend(note);
    if lower == Some(false) && !is_said("do_lower_case") {
        notes.push(alone("do_lower_case", "lowercase", false));
    }
    let lower = lower.unwrap_or_else(|| {
        let name = files.folder.file_name().unwrap_or_default();
        let name = name.to_string_lossy().to_lowercase();
        let (lower, reason) = match (name.contains("uncased"), name.contains("cased")) {
            (true, _) => (true, "lower-cased by the folder's name"),
            (false, true) => (false, "cased by the folder's name"),
            (false, false) => (true, "lower-cased, as in transformers"),
        };
        notes.push(format!(
            "{folder}: no file says whether the encoder lower-cases; taken as {reason} \
             (do_lower_case in tokenizer_config.json settles it)"
        ));
        lower
    });
    let (strip_accents, note) = said("strip_accents", "strip_accents");
    notes.extend(note);
    if let Some(value) = strip_accents.filter(|&v| v != lower && !is_said("strip_accents")) {
        notes.push(alone("strip_accents", "strip_accents", value));
    }
    let (split_chinese, note) = said("tokenize_chinese_chars", "handle_chinese_chars");
    notes.extend(note);
    if split_chinese == Some(false) && !is_said("tokenize_chinese_chars") {
        notes.push(alone(
            "tokenize_chinese_chars",
            "handle_chinese_chars",
            false,
        ));
    }
    Letters {
        casing: Casing {
            lower,
            strip_accents: strip_accents.unwrap_or(lower),
        },
        split_chinese: split_chinese.unwrap_or(true),
    }
}

/// Adds the tokens, which must come to the ids that the files give them.
fn add(tokenizer: &mut Tokenizer, added: &Added, files: &Files) -> Result<()> {
    let tokens = added.tokens();
    let place = files.folder.display();
    let result = tokenizer.add_tokens(tokens);
    result.map_err(|e| input_error!("{place}: the added tokens: {e}"))?;
    for (id, token) in &added.numbered {
        let found = tokenizer.token_to_id(&token.content);
        if let Some(found) = found.filter(|found| found != id) {
            bail_input!(
                "{place}: the added token `{}` is said to have id {id}, but among {} tokens it has \
                 {found}; the vocabulary and the added tokens are not of one encoder",
                token.content,
                tokenizer.get_vocab_size(true)
            );
        }
    }
    Ok(())
}

/// The casing of a tokenizer that does what [`super::plain::Plain`] does, and nothing else.
pub fn plain_casing(tokenizer: &Tokenizer) -> Option<Casing> {
    let letters = bert_letters(tokenizer)?;
    let ModelWrapper::WordPiece(model) = tokenizer.get_model() else {
        return None;
    };
    let words = matches!(
        tokenizer.get_pre_tokenizer(),
        Some(PreTokenizerWrapper::BertPreTokenizer(_))
    );
    let pieces = (
        model.unk_token.as_str(),
        model.continuing_subword_prefix.as_str(),
        model.max_input_chars_per_word,
    );
    // rust_tokenizers' WordPiece sets Chinese characters apart by itself.
    let plain = words
        && letters.split_chinese
        && pieces == ("[UNK]", "##", 100)
        && !tokenizer.get_encode_special_tokens()
        && has_plain_rows(tokenizer)
        && has_plain_tokens(tokenizer);
    plain.then_some(letters.casing)
}

/// What BERT's normalizer makes of letters, where the tokenizer has that one.
pub fn bert_letters(tokenizer: &Tokenizer) -> Option<Letters> {
    match tokenizer.get_normalizer()? {
        NormalizerWrapper::BertNormalizer(normalizer) if normalizer.clean_text => Some(Letters {
            casing: Casing {
                lower: normalizer.lowercase,
                strip_accents: normalizer.strip_accents.unwrap_or(normalizer.lowercase),
            },
            split_chinese: normalizer.handle_chinese_chars,
        }),
        _ => None,
    }
}

fn has_plain_rows(tokenizer: &Tokenizer) -> bool {
    let processor = serde_json::to_value(tokenizer.get_post_processor()).unwrap_or_default();
    let [single, pair] = templates("[CLS]", "[SEP]");
    let id = |token: &str| json!(tokenizer.token_to_id(token));
    match processor["type"].as_str() {
        Some("TemplateProcessing") => {
            let ids = &processor["special_tokens"];
            processor["single"] == single
                && processor["pair"] == pair
                && ["[CLS]", "[SEP]"]
                    .iter()
                    .all(|t| ids[*t]["ids"] == json!([id(t)]))
        }
        Some("BertProcessing") => {
            processor["cls"] == json!(["[CLS]", id("[CLS]")])
                && processor["sep"] == json!(["[SEP]", id("[SEP]")])
        }
        _ => false,
    }
}

fn has_plain_tokens(tokenizer: &Tokenizer) -> bool {
    let added = tokenizer.get_added_tokens_decoder();
    let plain = |token: &AddedToken| {
        let content = token.content.as_str();
        SPECIAL.contains(&content) && *token == AddedToken::from(content, true)
    };
    added.len() == SPECIAL.len() && added.values().all(plain)
}
